"""The exercises of notebook 2c: what a field is worth, and what moves along with it."""

import re

from classroom.checks.exercise import Exercise, Number, Text, Words, Wrong

EXERCISES = (
    Exercise(
        "where",
        Text(),
        "Its dense head has a weight for every place of the last map, and so puts the 14-pixel "
        "pieces together at the logit, which sees all 28. Global average pooling can only count "
        "the pieces, without their places.",
        (
            Wrong(
                "more parameters",
                "Model1 has twelve times as many parameters, and that is why it wins over Model2.",
                "Model2 with BatchNorm has 84 parameters more than Model2, and gains two points. "
                "What else does the head do?",
                lambda text: (
                    bool(re.search(r"(more|many|times as many) parameters", text))
                    and not re.search(r"place|where|position|locat", text)
                ),
            ),
            Wrong(
                "fields do not matter",
                "So receptive fields do not matter very much for such small digits, after all.",
                "What does the *logit* of Model1 see, and how does it get there?",
                lambda text: bool(re.search(r"fields? (do|does)( not|n't) matter", text)),
            ),
        ),
        (
            "What does a unit before the head see, and what does a logit see?",
            "What does a mean forget about the units that it averages?",
        ),
        "Does yours say what the mean forgets, and what the dense head keeps?",
    ),
    Exercise(
        "ruler",
        Words(
            ("leave relu out", "pool by the mean", "take more digits", "square the gradient"),
            one=True,
        ),
        "2f48d8a23e84efbc",
        tuple(
            Wrong(name, frozenset({name}), says)
            for name, says in (
                ("leave relu out", "Without it the bump is about 5 pixels wide, too."),
                (
                    "pool by the mean",
                    "Theory does assume a mean; but with one the bump is about 5 pixels wide, too.",
                ),
                ("take more digits", "Then the bump is smoother, and as wide as before."),
            )
        ),
        (
            "Theory adds up *variances* over the layers. Of which quantity?",
            "If a gradient has mean 0, which power of it has its variance as mean?",
        ),
        "The variance of a random gradient is the bump of the theory; its absolute value goes as "
        "the root, which is wider.",
    ),
    Exercise(
        "confounder",
        Words(("depth", "last map", "channels", "parameters", "recipe", "digits")),
        "6480b98af2312a23",
        (
            Wrong(
                "size to blame",
                frozenset({"depth", "last map", "channels", "parameters"}),
                "They differ by 4%, and the better network has fewer.",
                lambda chosen: "parameters" in chosen,
            ),
            Wrong(
                "what is equal",
                frozenset({"depth", "last map", "channels", "recipe"}),
                "One recipe trained both, on the same digits.",
                lambda chosen: bool(chosen & {"recipe", "digits"}),
            ),
            Wrong(
                "depth overlooked",
                frozenset({"last map", "channels"}),
                "Count the convolutions.",
                lambda chosen: "depth" not in chosen,
            ),
            Wrong(
                "the map overlooked",
                frozenset({"depth", "channels"}),
                "A second pool: over how many units does each mean run?",
                lambda chosen: "last map" not in chosen,
            ),
            Wrong(
                "the width overlooked",
                frozenset({"depth", "last map"}),
                "How many maps does each mean give to the head?",
                lambda chosen: "channels" not in chosen,
            ),
        ),
        (
            "Write both chains one below the other, with each layer's channels and map.",
            "C, MP, C against C, MP, C, MP, C; maps of 10 and 3; 24 channels and 12.",
        ),
        "Four things differ with the field among them: no sentence about one of them follows.",
    ),
    Exercise(
        "control",
        Words(("a", "b", "c", "d"), one=True),
        "55003d9d2db8ad7e",
        tuple(
            Wrong(name, frozenset({letter}), says)
            for letter, name, says in (
                ("b", "the size grows too", "It has a fifth more parameters than its rival."),
                ("c", "the field grows too", "Three layers of 3×3 see 18 pixels, not 10."),
                ("d", "the training grows", "Depth is what was asked about."),
            )
        ),
        (
            "For each of the four: which field, how many parameters, how many epochs?",
            "1×1 kernels leave the field alone; and what leaves the parameters alone?",
        ),
        "Its width differs, 15 for 16: that is the price of equal parameters. Name it.",
    ),
    Exercise(
        "fewer",
        Number(0.5, percent=True),
        100 * (98.65 - 97.55) / (100 - 97.55),
        (
            Wrong(
                "points", 1.1, "Those are points of accuracy. How many errors were there to take?"
            ),
            Wrong(
                "what is left",
                100 * (100 - 98.65) / (100 - 97.55),
                "So many are left of 100.",
            ),
            Wrong(
                "of the later errors",
                100 * (98.65 - 97.55) / (100 - 98.65),
                "A share of the errors that there were before.",
            ),
        ),
        (
            "How many errors in 10,000 digits before, and how many after?",
            "245 and 135.",
        ),
        "Near 99% a point is much: compare errors, not accuracies.",
    ),
    Exercise(
        "probe",
        Words(
            (
                "the layer knows little",
                "the mean loses where things are",
                "the field is large enough",
                "the network is untrained",
            ),
            one=True,
        ),
        "e2ae58635a8a3551",
        tuple(
            Wrong(name, frozenset({name}), says)
            for name, says in (
                ("the layer knows little", "Nine of its means tell 98.5% of the digits."),
                ("the field is large enough", "Then its mean would do as well as the nine."),
                (
                    "the network is untrained",
                    "A probe is fitted to layers as they are; and these tell 98.5%.",
                ),
            )
        ),
        (
            "What do nine means keep that one does not?",
            "Both probes read the same layer. So it is not the layer in which they differ.",
        ),
        "And behind a layer whose field covers the digit the two probes agree.",
    ),
    Exercise(
        "cut_layers",
        Words(
            (
                "yes, errors grew by 60%",
                "yes, their fields are larger",
                "no, the parameters were halved as well",
                "no, three seeds say nothing",
            ),
            one=True,
        ),
        "0c2074fdeefb42de",
        tuple(
            Wrong(name, frozenset({answer}), says)
            for name, answer, says in (
                (
                    "a difference is no cause",
                    "yes, errors grew by 60%",
                    "They did. But what else went with the layers?",
                ),
                (
                    "the field again",
                    "yes, their fields are larger",
                    "Field, depth and parameters all went with them.",
                ),
                (
                    "the interval was not read",
                    "no, three seeds say nothing",
                    "They say 36% to 89% more: that is no luck of the seeds.",
                ),
            )
        ),
        (
            "How many parameters has each of the two networks?",
            "7,740 and 4,060. What did the short network read with 14 channels?",
        ),
        "With its parameters given back as width, the short network makes as many errors.",
    ),
)
