"""Frames of WebSockets (RFC 6455, section 5.2)."""


async def read_frame(reader):
    """Its opcode and its payload, unmasked."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    key = await reader.readexactly(4) if second & 0x80 else b"\0\0\0\0"
    payload = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
