use proptest::prelude::*;

use crate::config::format;

fn formatted(text: &str) -> String {
    match format("a.toml", text) {
        Ok(formatted) => formatted,
        Err(errors) => panic!("{}\n{text}", errors.render(1000, false)),
    }
}

#[test]
fn one_form_for_many() {
    let text = "\n\n#:schema x\n\n\n# About it.   \ntitle='A \"b\"'   # kept\nvars . data = 'd'\n\n\n\
        [ matrix ]#axes\n\nmethod=[ 'a' ,\n 'b', ]\r\n[\"model\".base]\n  source   =  'm.gguf'\n\
        [stage.rm]\nkind='train-reward'\nlora={rank=8,alpha = 16,targets=['q',  'v' ,],}\n\
        lr=1E-5 \t # as published\ndata=[\n  # the first\n 'helpful', # one\n 'harmless' # two\n # end\n]\n\
        names=['aaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','cccccccccccccccccccccccc']\n\
        text='''\n raw  \n'''\n\n# the end";
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn what_comes_with_the_program_is_in_form() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).expect("text");
            assert_eq!(formatted(&text), text, "{}", path.display());
        }
    }
}

#[test]
fn comments_in_odd_places_are_left_alone() {
    for text in [
        "a = [\n  1 # before the comma\n  , 2]\n",
        "a = [[ # inside\n 1]]\n",
        "a = { b = [ # inside\n 1], c=2 }\n",
    ] {
        assert_eq!(formatted(text), text);
    }
}

#[test]
fn a_broken_file_is_refused() {
    let errors = format("a.toml", "a = [1\nb = 2\n").expect_err("it is broken");
    assert!(errors.render(100, false).contains("a.toml:"));
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("\u{feff}a=1"), "a = 1\n");
    assert_eq!(formatted("# only a comment"), "# only a comment\n");
}

/// A TOML text of tables, dotted keys, lists, comments and odd white space.
fn texts() -> impl Strategy<Value = String> {
    let gap = "[ \t]{0,3}";
    let comment = prop_oneof![Just(String::new()), "[ ]{0,3}#[ a-z#'\"\\[=]{0,12}"];
    let scalar = prop_oneof![
        "-?[1-9][0-9]{0,6}",
        "[0-9]\\.[0-9]{1,3}(e-[1-9])?",
        Just("true".to_owned()),
        Just("nan".to_owned()),
        Just("0x1F".to_owned()),
        Just("2024-05-01".to_owned()),
        "'[a-z\"\\\\#{}$. ]{0,9}'",
        "\"[a-z'#{}$., ]{0,9}\"",
        Just("\"a\\n\\\"b\\\" \\u00e9\"".to_owned()),
        Just("'''\n a  \n'''".to_owned()),
    ];
    let value = scalar.prop_recursive(3, 12, 4, move |inner| {
        let break_ = prop_oneof![
            Just(""),
            Just(" "),
            Just("\n"),
            Just(" # c\n"),
            Just("\n\n  # d\n")
        ];
        let list = prop::collection::vec((break_.clone(), inner.clone(), break_.clone()), 0..4)
            .prop_flat_map(move |items| (Just(items), any::<bool>(), break_.clone()))
            .prop_map(|(items, comma, end)| {
                let items: Vec<String> =
                    items.iter().map(|(a, v, b)| format!("{a}{v}{b}")).collect();
                let comma = if comma && !items.is_empty() { "," } else { "" };
                format!("[{}{comma}{end}]", items.join(","))
            });
        let table = prop::collection::vec(inner, 0..3).prop_map(|values| {
            let values = values.iter().enumerate();
            let entries: Vec<String> = values.map(|(i, v)| format!(" k{i}.x={v}")).collect();
            format!("{{{}}}", entries.join(" ,"))
        });
        prop_oneof![list, table]
    });
    let line = (gap, value, comment);
    let before = prop_oneof![
        Just(""),
        Just("\n"),
        Just("\n\n\n"),
        Just("# above\n"),
        Just("\n #x\n\n")
    ];
    let lines = prop::collection::vec((before.clone(), line, any::<bool>()), 0..5);
    prop::collection::vec((before, lines), 1..4).prop_map(|tables| {
        let mut text = String::new();
        for (number, (before, lines)) in tables.iter().enumerate() {
            text.push_str(before);
            if number > 0 {
                text.push_str(&format!("[ t{number} . \"u\" ] # head\n"));
            }
            for (index, (before, (gap, value, comment), dotted)) in lines.iter().enumerate() {
                let key = if *dotted {
                    format!("d . k{index}")
                } else {
                    format!("'k{index}'")
                };
                text.push_str(&format!("{before}{gap}{key}{gap}={gap}{value}{comment}\n"));
            }
        }
        text
    })
}

/// Every comment of a text, in no order: dotted keys may move with theirs.
fn hashes(text: &str) -> usize {
    text.matches('#').count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// `format` itself refuses to change a meaning; here it never has to.
    #[test]
    fn formatting_keeps_meaning_and_comments_and_is_done_in_one_go(text in texts()) {
        let meaning = |text: &str| {
            let table: toml::Table = text.parse().expect("valid TOML");
            format!("{:?}", sorted(&toml::Value::Table(table)))
        };
        let once = formatted(&text);
        prop_assert_eq!(meaning(&once), meaning(&text));
        prop_assert_eq!(hashes(&once), hashes(&text));
        prop_assert_eq!(&formatted(&once), &once, "from\n{}", text);
        // Texts of several lines, and lists left alone, keep their white space.
        if !text.contains("'''") && !text.contains("# ") {
            prop_assert!(once.lines().all(|line| line.trim_end() == line), "{}", once);
        }
    }
}

/// The same value with tables in order of their keys.
fn sorted(value: &toml::Value) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    let mut rest = vec![(String::new(), value)];
    while let Some((path, value)) = rest.pop() {
        match value {
            toml::Value::Table(table) => {
                found.insert(format!("{path}{{}}"), String::new());
                rest.extend(table.iter().map(|(k, v)| (format!("{path}.{k:?}"), v)));
            }
            toml::Value::Array(items) => {
                found.insert(format!("{path}[]"), items.len().to_string());
                let items = items.iter().enumerate();
                rest.extend(items.map(|(i, v)| (format!("{path}[{i}]"), v)));
            }
            other => {
                found.insert(path, format!("{other:?}"));
            }
        }
    }
    found
}
