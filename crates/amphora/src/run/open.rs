//! A bundle, a package or an ONNX file, ready to answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amphora_bundle::manifest::{EffectiveIo, Io, effective_io};
use amphora_bundle::{Bundle, Package, check_and_keep, parse_labels};
use amphora_error::{Error, ErrorKind, Result};
use amphora_files::{Directory, RelativePath, json};
use amphora_onnx::{Limits, Model};
use amphora_runtime::{Calibration, Engine, Session, SessionOptions};
use amphora_verify::{VerifiedBundle, VerifyOptions};
use bytes::Bytes;

use super::BundleRan;
use crate::export::parent_of;
use crate::inspect::decoded;
use crate::labels::{self, Labels};
use crate::source::MAX_BESIDE;
use crate::{Engines, Subject};

/// What a subject is once it is open.
pub(super) struct Opened {
    pub(super) session: Session,
    /// What goes in and comes out, with the way from text and pictures as stated or detected.
    pub(super) io: EffectiveIo,
    pub(super) ran: Option<BundleRan>,
    pub(super) labels: Option<Labels>,
    /// The files beside the graph.
    pub(super) files: Files,
    /// What was opened.
    pub(super) path: PathBuf,
}

/// Where files beside the graph come from; those of a bundle are compared with its manifest.
pub(super) enum Files {
    Bundle(Box<Bundle>),
    Package(Box<Package>),
    /// The directory of a bare ONNX file.
    Beside(PathBuf),
}

impl Files {
    /// The content of a file, or `None` where there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let path = RelativePath::parse(name)?;
        match self {
            Self::Bundle(bundle) => match bundle.manifest().file(&path) {
                Some(_) => bundle.read(&path).map(Some),
                None => Ok(None),
            },
            Self::Package(package) => match package.has(name) {
                true => package.read(&path, MAX_BESIDE).map(Some),
                false => Ok(None),
            },
            Self::Beside(folder) => {
                let file = Directory::open(folder)?.open_file(&path);
                match file {
                    Ok(file) => file.contents(MAX_BESIDE).map(Some),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Opens `subject` on the engine that is meant for it; `verify` replays the golden vectors first.
pub(super) fn open(subject: Subject, engines: &Engines, verify: bool) -> Result<Opened> {
    let without_vectors = match &subject {
        Subject::Onnx(path) => Some((path.as_path(), "pack --model")),
        Subject::Package(package) => Some((package.path(), "import")),
        Subject::Bundle(_) | Subject::Directory(_) => None,
    };
    if let (true, Some((path, command))) = (verify, without_vectors) {
        return Err(Error::usage(
            "verify-without-vectors",
            "there are no golden vectors to replay: only a bundle has some",
        )
        .in_file(path)
        .hint(format!("make one: amphora {command} {}", path.display())));
    }
    match subject {
        Subject::Onnx(path) => onnx(&path, engines),
        Subject::Bundle(bundle) => self::bundle(bundle, engines, verify),
        Subject::Package(package) => self::package(package, engines),
        Subject::Directory(path) => Err(Error::unsupported(
            "run-without-graph",
            "this is a model's directory without a graph, and only graphs run",
        )
        .hint(format!(
            "make a bundle of it: amphora pack --model {}",
            path.display()
        ))
        .in_file(path)),
    }
}

fn onnx(path: &Path, engines: &Engines) -> Result<Opened> {
    let model = Model::open(path, &Limits::default())?;
    let engine = engines.for_foreign_graph()?;
    let session = Session::new(&model, engine, &SessionOptions::default(), None)
        .map_err(|error| error.in_file(path))?;
    let folder = parent_of(path).to_owned();
    let has = |name: &str| folder.join(name).is_file();
    Ok(Opened {
        io: effective_io(None, session.contract(), false, &has)?,
        session,
        ran: None,
        labels: None,
        files: Files::Beside(folder),
        path: path.to_owned(),
    })
}

fn bundle(bundle: Box<Bundle>, engines: &Engines, verify: bool) -> Result<Opened> {
    let options = SessionOptions::default();
    let engine = engines.for_bundle(&bundle.id())?;
    let (bundle, session, labels) = if verify {
        let verified = verified(*bundle, engines, &engine)?;
        let session = verified.session(engine, &options)?;
        let bundle = Box::new(verified.into_bundle());
        let labels = bundle_labels(&bundle, &|path| bundle.read(path))?;
        (bundle, session, labels)
    } else {
        let (report, checked) = check_and_keep(&bundle, &needed(&bundle)?)?;
        report.into_result()?;
        let read = |path: &RelativePath| checked.read(path);
        let labels = bundle_labels(&bundle, &read)?;
        let (bytes, external) = checked.graph_bytes(&bundle.manifest().spec.entry)?;
        let model = decoded(&bundle, bytes, external)?;
        let calibration = calibration(&bundle, &read)?;
        let session = Session::new(&model, engine, &options, calibration)?;
        (bundle, session, labels)
    };
    let entry = &bundle.manifest().spec.entry;
    let has = |name: &str| {
        RelativePath::parse(name).is_ok_and(|path| bundle.manifest().file(&path).is_some())
    };
    let io = Some(&bundle.manifest().graph(entry)?.io);
    let io = effective_io(io, session.contract(), false, &has)?;
    let contract = io.narrow(session.contract());
    Ok(Opened {
        session: session.narrowed(contract)?,
        io,
        ran: Some(BundleRan::of(&bundle)),
        labels,
        path: bundle.path().to_owned(),
        files: Files::Bundle(bundle),
    })
}

/// The entry graph of a package, which enforces what its manifest says.
fn package(package: Box<Package>, engines: &Engines) -> Result<Opened> {
    let graphs = package.graphs()?;
    let entry = graphs.first().ok_or_else(|| {
        Error::internal(
            "package-graphs",
            "a package was found to hold no graph at all",
        )
    })?;
    let model = package.model(entry, &Limits::default())?;
    let engine = engines.for_foreign_graph()?;
    let session = Session::new(&model, engine, &SessionOptions::default(), None)
        .map_err(|error| error.in_file(entry.file.beneath(package.path())))?;
    let io = package.effective_io(session.contract(), false)?;
    let contract = io.narrow(session.contract());
    Ok(Opened {
        session: session.narrowed(contract)?,
        labels: package_labels(&package, &io.io)?,
        io,
        ran: None,
        path: package.path().to_owned(),
        files: Files::Package(package),
    })
}

/// Replays the golden vectors on the engine that is about to answer.
pub(crate) fn verified(
    bundle: Bundle,
    engines: &Engines,
    engine: &Arc<dyn Engine>,
) -> Result<VerifiedBundle> {
    let id = bundle.id();
    let options = VerifyOptions {
        engine: Some(engine.clone()),
        ..VerifyOptions::default()
    };
    let verification = amphora_verify::verify(bundle, &options)?;
    engines.remember(&id, engine.as_ref(), &verification.report);
    verification.into_bundle()
}

/// The files that a run reads.
fn needed(bundle: &Bundle) -> Result<BTreeSet<&RelativePath>> {
    let manifest = bundle.manifest();
    let graph = manifest.graph(&manifest.spec.entry)?;
    let assets = &manifest.assets;
    let files = graph.data.iter().chain([&graph.file]);
    Ok(files
        .chain(&assets.labels)
        .chain(&assets.calibration)
        .collect())
}

/// Gives a file of a bundle whose bytes were compared with the manifest.
type Read<'a> = &'a dyn Fn(&RelativePath) -> Result<Bytes>;

/// The calibration that the manifest names.
fn calibration(bundle: &Bundle, read: Read<'_>) -> Result<Option<Calibration>> {
    let Some(path) = &bundle.manifest().assets.calibration else {
        return Ok(None);
    };
    let bytes = read(path)?;
    Calibration::parse(&bytes)
        .map(Some)
        .map_err(|error| error.in_file(path.beneath(bundle.path())))
}

/// The labels of a package's `config.json`: those that its bundle would have.
fn package_labels(package: &Package, io: &Io) -> Result<Option<Labels>> {
    const CONFIG: &str = "config.json";
    if !package.has(CONFIG) {
        return Ok(None);
    }
    let bytes = package.read(&RelativePath::parse(CONFIG)?, json::MAX_BYTES)?;
    let labels = json::parse(&bytes).and_then(|config| match labels::are_used(&config, io) {
        true => labels::of_config(&config),
        false => Ok(None),
    });
    labels.map_err(|error| error.in_file(package.path().join(CONFIG)))
}

fn bundle_labels(bundle: &Bundle, read: Read<'_>) -> Result<Option<Labels>> {
    let Some(path) = &bundle.manifest().assets.labels else {
        return Ok(None);
    };
    parse_labels(&read(path)?)
        .map(Some)
        .map_err(|error| error.in_file(path.beneath(bundle.path())))
}
