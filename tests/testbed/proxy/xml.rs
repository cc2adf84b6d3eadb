//! As much XML as the emulators' answers need: elements found by their tags, no tree.

/// The text of the first element `tag`, if it is there.
pub fn text<'a>(xml: &'a str, tag: &str) -> Option<&'a str> {
    texts(xml, tag).next()
}

/// The texts of all elements `tag` in their order.
pub fn texts<'a>(xml: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (inside, after) = after.split_once(&close)?;
        rest = after;
        Some(inside)
    })
}

/// The elements `item` of the list `list` (its first occurrence), those of lists within them left in them.
pub fn items<'a>(xml: &'a str, list: &str, item: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{item}>"), format!("</{item}>"));
    let mut rest = text(xml, list).unwrap_or_default();
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once(&open) {
        let end = end_of(after, &open, &close);
        let Some((inside, after)) = after.split_at_checked(end) else {
            break;
        };
        found.push(inside);
        rest = after.strip_prefix(&close).unwrap_or_default();
    }
    found
}

/// Where the element ends whose inside begins `xml`.
fn end_of(xml: &str, open: &str, close: &str) -> usize {
    let mut depth = 0_usize;
    for (at, _) in xml.match_indices('<') {
        let here = xml.get(at..).unwrap_or_default();
        if here.starts_with(open) {
            depth += 1;
        } else if here.starts_with(close) {
            if depth == 0 {
                return at;
            }
            depth -= 1;
        }
    }
    xml.len()
}

/// `xml` with each of the list's elements replaced by what `change` makes of it, or taken out.
pub fn map_items(xml: &str, list: &str, item: &str, mut change: impl FnMut(&str) -> Option<String>) -> String {
    let (open, close) = (format!("<{list}>"), format!("</{list}>"));
    let Some((before, after)) = xml.split_once(&open) else {
        return xml.to_owned();
    };
    let Some((_, after)) = after.split_once(&close) else {
        return xml.to_owned();
    };
    let changed: String = items(xml, list, item)
        .into_iter()
        .filter_map(&mut change)
        .map(|inside| format!("<{item}>{inside}</{item}>"))
        .collect();
    format!("{before}{open}{changed}{close}{after}")
}

/// `xml` with another text in its first element `tag`; without one it stays as it is.
pub fn with_text(xml: &str, tag: &str, new: &str) -> String {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    match text(xml, tag) {
        Some(old) => xml.replacen(&format!("{open}{old}{close}"), &format!("{open}{new}{close}"), 1),
        None => xml.to_owned(),
    }
}

/// Text made safe to stand in an element.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_their_order() {
        let xml = "<a><b>1</b><c/><b>2</b></a>";
        assert_eq!(texts(xml, "b").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(text(xml, "d"), None);
    }

    #[test]
    fn the_elements_of_a_list_keep_their_own_lists() {
        let xml = "<set><item>1<in><item>x</item></in></item><item>2</item></set>";
        assert_eq!(items(xml, "set", "item"), ["1<in><item>x</item></in>", "2"]);
        assert!(items("<set/>", "set", "item").is_empty());
    }

    #[test]
    fn elements_are_replaced_or_taken_out() {
        let xml = "<r><set><item>1</item><item>2</item></set><id>7</id></r>";
        let changed = map_items(xml, "set", "item", |item| (item == "1").then(|| "one".to_owned()));
        assert_eq!(changed, "<r><set><item>one</item></set><id>7</id></r>");
        assert_eq!(with_text(xml, "id", "8"), xml.replace('7', "8"));
    }
}
