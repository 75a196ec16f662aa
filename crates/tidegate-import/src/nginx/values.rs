//! nginx's times, sizes and variables in Tidegate's notation. It does not know directives.

/// `90`, `90s`, `1m30s`, `500ms` as milliseconds.
pub(super) fn parse_milliseconds(written: &str) -> Option<u64> {
    let mut rest = written;
    let mut total = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at_checked(letters)?;
        let factor: u64 = match unit {
            "ms" => 1,
            "s" | "" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "M" => 2_592_000_000,
            "y" => 31_536_000_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = behind.trim_start();
    }
    Some(total)
}

/// A duration in the configuration's notation.
pub(super) fn translate_duration(written: &str) -> Option<String> {
    let milliseconds = parse_milliseconds(written)?;
    Some(match milliseconds {
        0 => "0s".to_owned(),
        hours if hours % 3_600_000 == 0 => format!("{}h", hours / 3_600_000),
        minutes if minutes % 60_000 == 0 => format!("{}m", minutes / 60_000),
        seconds if seconds % 1000 == 0 => format!("{}s", seconds / 1000),
        rest => format!("{rest}ms"),
    })
}

/// `512`, `8k`, `1m`, `2g` as bytes.
pub(super) fn parse_size_in_bytes(written: &str) -> Option<u64> {
    let shift = match written.bytes().last()? {
        b'k' | b'K' => 10,
        b'm' | b'M' => 20,
        b'g' | b'G' => 30,
        _ => 0,
    };
    let digits = written.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The template of an nginx variable; empty for variables that are always empty.
const VARIABLES: [(&str, &str); 14] = [
    ("remote_addr", "{client.address}"),
    ("realip_remote_addr", "{client.address}"),
    ("scheme", "{scheme}"),
    ("host", "{host}"),
    ("http_host", "{authority}"),
    ("request_uri", "{target}"),
    ("uri", "{path}"),
    ("document_uri", "{path}"),
    ("args", "{query}"),
    ("query_string", "{query}"),
    ("request_method", "{method}"),
    ("request_id", "{request.id}"),
    ("http_x_request_id", "{request.id}"),
    ("proxy_add_x_forwarded_for", "{client.address}"),
];

/// A text with variables as a template, or the name of the first variable without a counterpart.
/// `{target}` is `{path}` with the query, as `$uri$is_args$args`.
pub(super) fn translate_template(written: &str) -> Result<String, String> {
    let written = &written.replace("$uri$is_args$args", "$request_uri");
    let mut made = String::new();
    let mut rest = written.as_str();
    while let Some((before, behind)) = rest.split_once('$') {
        push_literal(&mut made, before);
        let braced = behind.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            behind.split_at(behind.bytes().take_while(is_name).count())
        });
        match VARIABLES.iter().find(|(known, _)| *known == name) {
            Some((_, variable)) => made.push_str(variable),
            None => return Err(format!("${name}")),
        }
        rest = after;
    }
    push_literal(&mut made, rest);
    Ok(made)
}

fn push_literal(made: &mut String, text: &str) {
    made.push_str(&text.replace('{', "{{").replace('}', "}}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_converted() {
        for (written, made) in
            [("90", "90s"), ("60s", "1m"), ("1m30s", "90s"), ("500ms", "500ms"), ("1d", "24h")]
        {
            assert_eq!(translate_duration(written).as_deref(), Some(made), "{written}");
        }
        assert_eq!(translate_duration("soon"), None);
        assert_eq!(parse_size_in_bytes("10m"), Some(10 << 20));
        assert_eq!(parse_size_in_bytes("0"), Some(0));
        assert_eq!(parse_size_in_bytes("99999999999g"), None);
    }

    #[test]
    fn variables_are_translated_and_unknown_ones_named() {
        assert_eq!(
            translate_template("https://$host$request_uri").as_deref(),
            Ok("https://{host}{target}")
        );
        assert_eq!(translate_template("${scheme}s {x}").as_deref(), Ok("{scheme}s {{x}}"));
        assert_eq!(translate_template("a$ssl_client_s_dn"), Err("$ssl_client_s_dn".to_owned()));
    }
}
