"""The course on SageMaker: jobs and endpoints, what runs in their containers, and the rehearsal.

`jobs` submits, serves, lists, cleans and prices; `container` and `serve` are the containers' side;
`rehearsal` plays SageMaker on this machine, without an account.
"""
