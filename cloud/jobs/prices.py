"""What an hour of a machine costs, and so a job at most."""

QUOTED = "us-east-1"
# Dollars an hour on demand there, as commonly quoted in 2026; most other regions cost more.
# What you pay stands at aws.amazon.com/sagemaker/pricing.
PRICES = {
    "ml.g4dn.xlarge": 0.7364, "ml.g5.xlarge": 1.408,
    "ml.m5.large": 0.115, "ml.m5.xlarge": 0.23, "ml.c5.xlarge": 0.204,
}  # fmt: skip
TO_STOP = 2  # minutes: a job stopped at its limit may use them to save, and is billed for them


def price(
    instance_type: str, minutes: float, *, spot: bool = False, jobs: int = 1, machines: int = 1
) -> str:
    """What jobs cost at most, each on so many machines, in a sentence."""
    number = jobs * machines
    what = f"{number} × {instance_type}" if number > 1 else instance_type
    time = f"at most {minutes:g} min, and {TO_STOP} to stop in"
    if instance_type not in PRICES:
        return f"{what}: {time}; see aws.amazon.com/sagemaker/pricing"
    rate = PRICES[instance_type]
    most = number * rate * (minutes + TO_STOP) / 60
    text = f"{what}: {time}, at ${rate:.4g} an hour in {QUOTED}, so ${most:.2f}"
    return text + (" on demand; spot capacity costs less" if spot else "")
