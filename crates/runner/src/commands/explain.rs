//! `evenkeel explain`: the text of a rule of the doctor, or the list of all rules.

use doctor::Rule;
use doctor::rule::ALL;

use crate::Error;
use crate::commands::output;
use crate::run::spelling;

/// Prints the text of the rule `id`, of all rules, or a line for each rule.
///
/// # Errors
/// [`Error::Usage`] if there is no such rule; it names the nearest one.
pub fn explain(id: Option<&str>, all: bool) -> Result<(), Error> {
    if all {
        let texts: Vec<_> = ALL.iter().map(|rule| rule.to_string().trim_end().to_owned()).collect();
        // Headings two levels lower, below that of a section.
        let text = texts.join("\n\n").replace("\n#", "\n###");
        return output::print(&format!("##{text}"));
    }
    let Some(id) = id else {
        let width = ALL.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
        let lines: Vec<_> =
            ALL.iter().map(|rule| format!("{:width$}  {}", rule.id, rule.title)).collect();
        return output::print(&lines.join("\n"));
    };
    let Some(rule) = Rule::find(id) else {
        let names = ALL.iter().map(|rule| rule.id);
        let nearest = spelling::nearest(id, names).map(|name| format!("; did you mean {name}?"));
        return Err(Error::Usage(format!(
            "explain: expected the name of a rule, got {id}{}. `evenkeel explain` lists them",
            nearest.unwrap_or_default()
        )));
    };
    output::print(rule.to_string().trim_end())
}
