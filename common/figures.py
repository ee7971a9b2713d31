"""Numbers for people."""


def figure(value: float) -> str:
    """Four digits, without an exponent for a large number: 0.09361, 31,218."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"
