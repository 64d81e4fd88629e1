"""What a class needs: exercises that check an answer, the grader, and the lab.

`checks` says what went wrong in an answer, `grade` trains and marks submissions of the assignment,
`lab` is the bench on which a network is changed by hand; `factorial` holds the designs of notebook
2c, `second_opinion` asks torchsummary.
"""
