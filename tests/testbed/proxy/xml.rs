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
}
