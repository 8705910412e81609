//! `completions` and `man`: files that packagers install.

use std::fs;
use std::process::Command;

use crate::world::{World, stderr, stdout};

#[test]
fn completions_name_commands_and_flags_and_work_in_bash() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&world.expect(0, &format!("completions {shell}"), &[]));
        for name in ["evenkeel", "train", "lr-find", "resume", "non-finite"] {
            assert!(script.contains(name), "{shell}: no {name}");
        }
    }
    world.expect(2, "completions csh", &["csh", "bash"]);
    fs::write(world.path("script"), world.expect(0, "completions bash", &[]).stdout).unwrap();
    let complete = "source ./script; COMP_WORDS=(evenkeel tra); COMP_CWORD=1; \
                    _evenkeel evenkeel tra evenkeel; echo \"${COMPREPLY[@]}\"";
    match Command::new("bash").args(["-c", complete]).current_dir(world.path("")).output() {
        Ok(output) => assert_eq!(stdout(&output).trim(), "train", "{}", stderr(&output)),
        Err(error) => println!("skipped: bash cannot be run: {error}"),
    }
}

#[test]
fn every_command_has_a_page_with_its_examples() {
    let world = World::new();
    world.expect(0, "man pages", &[]);
    let page = |name: &str| world.read(&format!("pages/{name}.1"));
    assert!(page("evenkeel").contains("Exit codes"));
    for command in ["train", "eval", "data-synth", "verify", "man"] {
        let page = page(&format!("evenkeel-{command}"));
        assert!(
            page.contains("Example")
                && page.contains(&format!("evenkeel {}", command.replace('-', " "))),
            "{page}"
        );
    }
    assert!(
        !page("evenkeel-train").contains("instruction sets here"),
        "a page is the same on every machine"
    );
    world.expect(2, "man pages", &["pages/evenkeel.1", "--force"]);
    world.expect(0, "man pages --force", &[]);
    world.write("file", "");
    world.expect(1, "man file", &["file"]);
}
