"""Math."""


def math_vocabulary() -> dict[str, object]:
    return {}
