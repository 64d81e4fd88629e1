"""What an hour of a machine costs, and so a job at most."""

# Dollars an hour on demand in us-east-1, as commonly quoted in 2026; what you pay stands at
# aws.amazon.com/sagemaker/pricing.
PRICES = {
    "ml.g4dn.xlarge": 0.7364, "ml.g5.xlarge": 1.408,
    "ml.m5.large": 0.115, "ml.m5.xlarge": 0.23, "ml.c5.xlarge": 0.204,
}  # fmt: skip


def price(instance_type: str, minutes: float, *, spot: bool = False, jobs: int = 1) -> str:
    """What the time costs at most, in a sentence."""
    what = f"{jobs} × {instance_type}" if jobs > 1 else instance_type
    if instance_type not in PRICES:
        return f"{what}: at most {minutes} min each; see aws.amazon.com/sagemaker/pricing"
    dollars = PRICES[instance_type]
    most = jobs * dollars * minutes / 60
    text = f"{what}: at most {minutes:g} min at ${dollars:.4g} an hour (us-east-1), so ${most:.2f}"
    return text + (" on demand; spot capacity costs less" if spot else "")
