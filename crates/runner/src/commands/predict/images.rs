//! Images to predict: PNG files, folders of PNG files, and IDX files.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::commands::predict::input::{Input, Source};
use crate::data::idx::{Array, GZIP_MAGIC};
use crate::data::scan::{Preparation, Scan};
use crate::data::{DataError, Labelled, scan};

/// Pixels and sources of the images read so far.
#[derive(Default)]
struct Images {
    pixels: Vec<u8>,
    sources: Vec<Source>,
}

/// Reads the images in `files`, prepared for a network.
///
/// # Errors
/// [`Error::Malformed`] if a file has another format, or its images another size.
pub(super) fn read(files: &[PathBuf], preparation: Preparation) -> Result<Input, Error> {
    let mut images = Images::default();
    for file in files {
        images.read(file, preparation)?;
    }
    let Images { pixels, sources } = images;
    let Preparation { rows, cols, .. } = preparation;
    // Labels are unknown and not used.
    let set = Labelled::new(pixels, vec![0; sources.len()], rows as u32, cols as u32)
        .map_err(|error| Error::Usage(format!("images: {error}")))?;
    Ok(Input { set, sources })
}

impl Images {
    /// Adds the images in `path`: a PNG file, an IDX file of images, or a folder of PNG files.
    fn read(&mut self, path: &Path, preparation: Preparation) -> Result<(), Error> {
        let Preparation { rows, cols, .. } = preparation;
        if path.is_dir() {
            return png_files(path)?.iter().try_for_each(|file| self.read(file, preparation));
        }
        let name = path.display().to_string();
        let mut first = Vec::new();
        let file = File::open(path).map_err(DataError::io("read", path))?;
        file.take(8).read_to_end(&mut first).map_err(DataError::io("read", path))?;
        if first == scan::SIGNATURE {
            let Scan { pixels, size, inverted, centred } = scan::read(path, preparation)?;
            self.pixels.extend(pixels);
            let resized_from = (size != [cols, rows]).then_some(size);
            self.sources.push(Source { file: name, index: None, resized_from, inverted, centred });
            return Ok(());
        }
        if !first.starts_with(&[0, 0]) && !first.starts_with(&GZIP_MAGIC) {
            let expected = "a PNG file, or images in IDX format (raw or gzipped)";
            let found = format!("a file that begins with {first:02x?}");
            return Err(Error::malformed(path, expected, found));
        }
        let Array { dims: [count, height, width], data } = Array::<3>::read(path)?;
        if [height as usize, width as usize] != [rows, cols] {
            let expected = format!("images of {rows} x {cols}, the network's input");
            return Err(Error::malformed(path, expected, format!("{height} x {width}")));
        }
        self.pixels.extend(data);
        self.sources.extend((0..count as usize).map(|index| {
            let index = (count > 1).then_some(index);
            Source::unprepared(name.clone(), index)
        }));
        Ok(())
    }
}

/// The PNG files in `folder`, sorted by name.
fn png_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("read", folder))? {
        let path = entry.map_err(DataError::io("read", folder))?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::malformed(folder, "a folder of PNG files", "no PNG file"));
    }
    Ok(files)
}
