//! Writes a config repo of a wanted size: `generate --resources 10000 --seed 7 --out DIR`.
#![allow(clippy::print_stdout, reason = "it is a program for the terminal")]

#[allow(dead_code, reason = "the measurements use the rest")]
mod world;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut resources, mut seed, mut out) = (10_000_usize, 7_u64, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--resources" => resources = value.parse()?,
            "--seed" => seed = value.parse()?,
            "--out" => out = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown: {word}; try --resources 10000 --seed 7 --out DIR").into()),
        }
    }
    let out = out.ok_or("say where to: --out DIR")?;
    let organizations = world::write(&out, resources, seed)?;
    let made = organizations * world::RESOURCES_PER_ORGANIZATION;
    println!("{organizations} organizations, {made} resources and a tier catalogue in {}", out.display());
    Ok(())
}
