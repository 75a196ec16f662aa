//! Writes YAML documents that look random and are the same each time. Knows nothing of what they mean.

/// Numbers that look random and are the same each time (xorshift64*).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % sides
    }

    fn one_of<'t>(&mut self, items: &[&'t str]) -> &'t str {
        items[self.roll(items.len())]
    }
}

/// Words that YAML 1.1 or 1.2, or one of their parsers, gives a meaning to, and others.
const WORDS: &[&str] = &[
    "on",
    "off",
    "yes",
    "no",
    "y",
    "n",
    "On",
    "OFF",
    "true",
    "false",
    "True",
    "FALSE",
    "tRue",
    "null",
    "Null",
    "~",
    "",
    "0",
    "7",
    "-7",
    "+7",
    "007",
    "0x1F",
    "0X1F",
    "-0x1F",
    "0o17",
    "017",
    "0b101",
    "1_000",
    "1:30",
    "190:20:30",
    "1.5",
    "-1.5",
    "+1.5",
    ".5",
    "5.",
    "1e3",
    "1E-3",
    "1.e+3",
    "00.5",
    ".inf",
    "-.Inf",
    ".nan",
    ".NaN",
    "inf",
    "nan",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "0xFFFFFFFFFFFFFFFF",
    "2001-12-14",
    "10s",
    "1MiB",
    "127.0.0.1:3000",
    "::1",
    "[::1]:80",
    "/api",
    "*.example.com",
    "a b",
    "a#b",
    "a: b",
    "a:b",
    "- a",
    "-a",
    "?a",
    ":a",
    "a,b",
    "a]b",
    "{x}",
    "${NAME}",
    "$$",
    "%a",
    "@a",
    "`a`",
    "!a",
    "&a",
    "|",
    ">",
    "'",
    "\"",
    "it's",
    "é",
    "日本",
    "a\u{a0}b",
    "=",
    "<",
    "a  b",
];

/// A document, in some of the many ways that YAML has to write one.
pub(crate) fn document(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.roll(8) == 0 {
        text.push_str(dice.one_of(&["---\n", "%YAML 1.2\n---\n", "# about this\n", "\n"]));
    }
    let mut anchors = 0;
    block(dice, 0, 0, &mut anchors, &mut text);
    if dice.roll(10) == 0 {
        text.push_str("...\n");
    }
    text
}

/// A mapping or a list over several lines.
fn block(dice: &mut Dice, indent: usize, depth: usize, anchors: &mut usize, text: &mut String) {
    let is_list = dice.roll(3) == 0;
    for index in 0..1 + dice.roll(4) {
        text.push_str(&" ".repeat(indent));
        if is_list {
            text.push('-');
        } else {
            let key = format!("k{index}");
            text.push_str(&match dice.roll(12) {
                0 => format!("\"{key}\""),
                1 => format!("'{key}'"),
                2 => format!("{key}{}", dice.one_of(&["-", "_x", ".y", "/z", " w"])),
                3 if index == 0 => dice
                    .one_of(&["on", "off", "7", "0x1F", "null", "<<", "true", "1.5", "~"])
                    .to_owned(),
                4 if dice.roll(20) == 0 => "k0".to_owned(),
                _ => key,
            });
            text.push(':');
        }
        if depth < 4 && dice.roll(3) == 0 {
            if dice.roll(6) == 0 {
                *anchors += 1;
                text.push_str(&format!(" &a{anchors}"));
            }
            text.push_str(dice.one_of(&["\n", "\n", " # about it\n", "\n\n", "   \n"]));
            let deeper = indent + 1 + dice.roll(4);
            block(dice, deeper, depth + 1, anchors, text);
        } else {
            text.push(' ');
            value(dice, indent, depth, anchors, text);
        }
    }
}

/// A value that begins on the line of its key, with the end of the line.
fn value(dice: &mut Dice, indent: usize, depth: usize, anchors: &mut usize, text: &mut String) {
    match dice.roll(14) {
        0 if *anchors > 0 => {
            let which = 1 + dice.roll(*anchors);
            text.push_str(&format!("*a{which}"));
        }
        1 => {
            *anchors += 1;
            text.push_str(&format!("&a{anchors} "));
            text.push_str(&quoted(dice));
        }
        2 | 3 => return block_scalar(dice, indent, text),
        4 | 5 => flow(dice, depth, text),
        6 => {
            // A plain or quoted scalar that goes on in the next line.
            let quote = dice.one_of(&["", "'", "\""]);
            let pad = " ".repeat(indent + 1 + dice.roll(3));
            let gap = dice.one_of(&["\n", "\n\n", "  \n"]);
            text.push_str(&format!("{quote}first{gap}{pad}second word{quote}"));
        }
        7 if dice.roll(6) == 0 => {
            text.push_str(dice.one_of(&["!!str 7", "!!int 7", "!own x", "!!bool true", "! 7"]))
        }
        8 | 9 => text.push_str(&quoted(dice)),
        _ => text.push_str(dice.one_of(WORDS)),
    }
    text.push_str(dice.one_of(&["\n", "\n", "\n", " # about it\n", "  \n", "\n\n", "\r\n"]));
}

fn quoted(dice: &mut Dice) -> String {
    let word = dice.one_of(WORDS);
    match dice.roll(4) {
        0 => format!("'{}'", word.replace('\'', "''")),
        1 => format!("\"{}\"", word.replace('"', "\\\"")),
        2 => format!(
            "\"{}\"",
            dice.one_of(&[
                "\\n",
                "\\t",
                "\\x41",
                "\\u00e9",
                "\\U0001F600",
                "\\0",
                "\\e",
                "\\_",
                "\\N",
                "\\L",
                "\\/",
                "\\ x",
                "\\\\",
                "\\q",
                "a\\\n  b",
                "tab\there",
            ])
        ),
        _ => word.to_owned(),
    }
}

/// `|` and `>` with their marks.
fn block_scalar(dice: &mut Dice, indent: usize, text: &mut String) {
    let extra = 1 + dice.roll(3);
    let pad = " ".repeat(indent + extra);
    text.push_str(dice.one_of(&["|", ">"]));
    let marks = [
        String::new(),
        String::new(),
        "-".to_owned(),
        "+".to_owned(),
        format!("{extra}"),
        format!("{extra}-"),
        format!("+{extra}"),
    ];
    // The top of a document has no indent of its own to count from.
    let most = if indent == 0 { 4 } else { marks.len() };
    text.push_str(&marks[dice.roll(most)]);
    text.push_str(dice.one_of(&["\n", " # about it\n", " \n"]));
    for _ in 0..dice.roll(5) {
        match dice.roll(6) {
            0 => text.push('\n'),
            1 => text.push_str(&format!("{pad}  more: indented\n")),
            2 => text.push_str(&format!("{pad}# no comment\n")),
            3 => text.push_str(&format!("{pad}trailing  \n")),
            _ => text.push_str(&format!("{pad}line of text\n")),
        }
    }
}

/// A list or mapping in brackets.
fn flow(dice: &mut Dice, depth: usize, text: &mut String) {
    let is_list = dice.roll(2) == 0;
    text.push(if is_list { '[' } else { '{' });
    let count = dice.roll(4);
    for index in 0..count {
        if index > 0 {
            text.push_str(dice.one_of(&[", ", ",", " , "]));
        }
        if !is_list {
            text.push_str(&match dice.roll(4) {
                0 => format!("\"f{index}\": "),
                1 => format!("\"f{index}\":"),
                _ => format!("f{index}: "),
            });
        }
        if depth < 4 && dice.roll(4) == 0 {
            flow(dice, depth + 1, text);
        } else {
            text.push_str(&quoted(dice));
        }
    }
    if count > 0 && dice.roll(5) == 0 {
        text.push(',');
    }
    text.push(if is_list { ']' } else { '}' });
}
