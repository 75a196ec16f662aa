"""JSON Web Tokens by ES256, signed by openssl: what clients of a route with authentication send."""

import base64
import json
import subprocess
import time

ISSUER = "bench"
AUDIENCE = "bench"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """A key in a folder, its public part beside it."""

    def __init__(self, folder):
        self.key = folder / "token.key"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(self.key))
        openssl("pkey", "-in", str(self.key), "-pubout", "-out", str(folder / "token.pem"))

    def token(self, number):
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "iat": now, "exp": now + 3600, "jti": f"token-{number}",
                  "scope": "openid profile notifications:read"}
        parts = [{"alg": "ES256", "typ": "JWT"}, claims]
        message = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        der = openssl("dgst", "-sha256", "-sign", str(self.key), data=message.encode())
        return f"{message}.{base64url(raw_signature(der))}"


def raw_signature(der):
    """The two integers of DER's sequence, 32 bytes each."""
    at, numbers = 2, []
    for _ in range(2):
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(32, "big"))
        at += 2 + length
    return b"".join(numbers)


def openssl(*arguments, data=b""):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=60, check=True).stdout
