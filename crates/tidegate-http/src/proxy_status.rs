//! `Proxy-Status` (RFC 9209), which distinguishes errors of the gateway from those of a service. Knows nothing of when
//! an error occurs.

use crate::error_code::ErrorCode;
use http::HeaderValue;

/// The header for the error with this code: the closest registered type (RFC 9209, section 2.3), and the code itself. It
/// names no endpoint, because clients read it.
pub fn proxy_status(code: &str) -> Option<HeaderValue> {
    let error =
        ErrorCode::parse(code).map_or(ErrorCode::DEFAULT_ERROR_TYPE, ErrorCode::proxy_error);
    // A filter of a user's may have any word.
    let is_plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let details = if is_plain { code } else { "error" };
    HeaderValue::try_from(format!("tidegate; error={error}; details=\"{details}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::proxy_status;

    #[test]
    fn malformed_error_code_is_replaced_in_proxy_status() {
        let header = |code| proxy_status(code).and_then(|it| it.to_str().ok().map(str::to_owned));
        let no_route = "tidegate; error=destination_not_found; details=\"no_route\"";
        assert_eq!(header("no_route").as_deref(), Some(no_route));
        let odd = "tidegate; error=http_request_denied; details=\"error\"";
        assert_eq!(header("a\"b\r\n").as_deref(), Some(odd));
    }
}
