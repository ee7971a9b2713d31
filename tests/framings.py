"""Keys in Avro."""

from worker.avro_encoding import zigzag


def avro_key(text: str) -> bytes:
    return zigzag(len(text.encode())) + text.encode()
