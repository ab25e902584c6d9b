//! Colours, as control sequences that the printing side takes out where they do not belong.

macro_rules! styles {
    ($($name:ident $code:literal),+ $(,)?) => {
        $(pub fn $name(text: &str) -> String {
            if text.is_empty() { String::new() } else { format!(concat!("\x1b[", $code, "m{}\x1b[0m"), text) }
        })+
    };
}

styles! {
    bold "1",
    dim "2",
    red "1;31",
    green "32",
    yellow "33",
    cyan "36",
}
