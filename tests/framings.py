"""Keys in Avro."""

from schemas.columnar_encoder import zigzag


def avro_key(text: str) -> bytes:
    return zigzag(len(text.encode())) + text.encode()
