use spindle_shared::batch::*;
use spindle_shared::client::Client;
use spindle_shared::job::*;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::transcribe::*;
use spindle_shared::wire::request::*;
use spindle_shared::wire::response::*;
fn main() {
    let mut args = std::env::args().skip(1);
    let socket = args.next().unwrap();
    let model = args.next().unwrap();
    let subs: Vec<Submission> = args
        .map(|p| {
            let path = std::path::absolute(&p).unwrap();
            let meta = std::fs::metadata(&path).unwrap();
            Submission {
                input: Input::File { path: path.as_path().into(), identity: FileIdentity::of(&meta) },
                output: OutputPlan {
                    directory: std::path::Path::new("/tmp/smoke-out").into(),
                    stem: path.file_stem().unwrap().into(),
                },
                stages: None,
                taken: vec![],
            }
        })
        .collect();
    let t = Transcribe { model: ModelRef { name: model, ..Default::default() }, ..Default::default() };
    let spec = BatchSpec {
        recipe: Recipe::subtitles(Default::default(), t, Default::default(), Default::default()),
        name: None,
        tags: vec![],
        priority: Priority::NORMAL,
        parallel: 3,
        retries: None,
        timeout_ms: None,
        key: None,
        on_existing: OnExisting::Force,
    };
    let c = Client::connect(std::path::Path::new(&socket)).unwrap();
    let t0 = std::time::Instant::now();
    let n = subs.len() as u32;
    let r = c.submit(spec, n, false, subs).unwrap();
    println!("{:?} {r:?}", t0.elapsed());
    let mut id = None;
    for f in r {
        if let Response::Submitted(s) = f {
            id = Some(s.batch.id)
        }
    }
    let id = id.unwrap();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let r = Client::connect(std::path::Path::new(&socket)).unwrap().call(&Request::Batches(vec![id])).unwrap();
        if let Some(Response::Batches(b)) = r.first() {
            if b[0].state.is_terminal() {
                println!("{:?}", b[0]);
                break;
            }
        }
    }
    println!("{:?}", t0.elapsed());
    for f in Client::connect(std::path::Path::new(&socket))
        .unwrap()
        .call(&Request::Jobs { batch: id, states: vec![], from: 1, limit: 1000 })
        .unwrap()
    {
        if let Response::Jobs(j) = f {
            for j in j {
                println!(
                    "{} {} {} {:?} {:?} {:?} {:?}",
                    j.id,
                    j.state.name(),
                    j.stage,
                    j.failure.map(|f| f.to_string()),
                    j.timings,
                    j.outputs.len(),
                    j.detail
                )
            }
        }
    }
}
