//! Names with wildcards: `*` and `?` within a component of a path, `**` for any number of components.

/// A relative path in which components may have wildcards. As in a shell, a wildcard does not match a leading dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    components: Vec<String>,
}

impl Glob {
    /// `None` if the pattern is empty, absolute, or has an empty, `.` or `..` component.
    pub(crate) fn new(pattern: &str) -> Option<Self> {
        let mut components: Vec<String> = pattern.split('/').map(str::to_owned).collect();
        let strange = |component: &String| matches!(component.as_str(), "" | "." | "..") || component.contains('\0');
        components.dedup_by(|a, b| a == "**" && b == "**");
        (!components.iter().any(strange)).then_some(Self { components })
    }

    /// Whether it names one file only.
    pub(crate) fn is_literal(&self) -> bool {
        !self.components.iter().any(|component| component.contains(['*', '?']))
    }

    /// Whether it matches the path.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').collect();
        path_matches(&self.components, &path)
    }
}

fn path_matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            path_matches(rest, path)
                || path.split_first().is_some_and(|(name, below)| !name.starts_with('.') && path_matches(pattern, below))
        }
        (Some((first, rest)), Some((name, below))) => name_matches(first, name) && path_matches(rest, below),
        _ => false,
    }
}

/// Goes back to the last star only, so the time is at most the product of the lengths.
fn name_matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&char) if char == '?' || char == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("a.json", "a.json", true),
            ("a.json", "b/a.json", false),
            ("*.json", "a.json", true),
            ("*.json", "a.json.gz", false),
            ("*.json", "b/a.json", false),
            ("*.json", ".a.json", false),
            (".*", ".a", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("?.json", "é.json", true),
            ("?.json", "ab.json", false),
            ("**", "a/b/c", true),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "b/c", false),
            ("**/**/x*", "a/b/xy", true),
            ("**/x", ".git/x", false),
            ("*/b", "a/b", true),
            ("*", "a/b", false),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
        for pattern in ["", "/a", "a//b", "../a", "a/..", "./a", "a/"] {
            assert_eq!(Glob::new(pattern), None, "{pattern}");
        }
    }
}
