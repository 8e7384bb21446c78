// dasmctl run: one job without a server. A private coordinator and worker are
// started, the job goes through them, its files land in --output.
#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/command/commands.h"
#include "client/command/embedded_service.h"
#include "client/command/exit_code.h"
#include "client/command/follow.h"
#include "client/command/interrupt.h"
#include "client/command/job_view.h"
#include "client/command/report_text.h"
#include "client/command/result_files.h"
#include "client/command/spec_source.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

struct RunOptions {
  SpecSource source;
  std::string output;
  std::string state;
  std::vector<std::string> data;
  int threads = 0;
  int slots = 1;
  bool quiet = false;
};

std::string DefaultState() {
  if (const char* base = std::getenv("XDG_STATE_HOME");
      base != nullptr && *base == '/') {
    return absl::StrCat(base, "/dasm/run");
  }
  const char* home = std::getenv("HOME");
  return absl::StrCat(home != nullptr ? home : "", "/.local/state/dasm/run");
}

std::vector<std::string> DefaultData() {
  const std::string debian = "/usr/share/datasets";
  if (LocalFileSystem()->Exists(debian)) return {debian};
  return {};
}

// The same spec in the same state folder is the same job, so that the same
// command goes on with it; only a job that has failed or was cancelled gives
// way to a new one.
absl::StatusOr<v1::Job> CreateOrContinue(Context* context,
                                         const v1::JobSpec& spec) {
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  const std::string digest = Sha256(JsonText(spec));
  for (int number = 0;; ++number) {
    const std::string hex = Sha256(absl::StrCat(digest, "/", number)).substr(7);
    v1::CreateJobRequest request;
    *request.mutable_spec() = spec;
    request.set_request_id(absl::StrCat(
        hex.substr(0, 8), "-", hex.substr(8, 4), "-4", hex.substr(13, 3), "-8",
        hex.substr(17, 3), "-", hex.substr(20, 12)));
    DASM_ASSIGN_OR_RETURN(v1::Job job, Call(*context, stubs->jobs.get(),
                                            &v1::JobService::Stub::CreateJob,
                                            request, absl::Minutes(2)));
    if (job.state() != v1::Job::STATE_FAILED &&
        job.state() != v1::Job::STATE_CANCELLED) {
      return job;
    }
  }
}

absl::StatusOr<int> Run(Context* context, RunOptions options) {
  DASM_ASSIGN_OR_RETURN(const v1::JobSpec spec, options.source.Load());
  // Told now rather than after the work.
  if (absl::Status made = LocalFileSystem()->CreateDirectories(options.output);
      !made.ok()) {
    return WithReason(absl::FailedPreconditionError(made.message()),
                      "OUTPUT_UNWRITABLE", "output");
  }
  EmbeddedService::Options service;
  service.state = options.state.empty() ? DefaultState() : options.state;
  service.data = options.data.empty() ? DefaultData() : options.data;
  service.threads = options.threads;
  service.slots = options.slots;
  const Interrupt interrupt;
  auto started = EmbeddedService::Start(service);
  if (!started.ok()) return started.status();
  context->coordinator = (*started)->address();

  DASM_ASSIGN_OR_RETURN(v1::Job job, CreateOrContinue(context, spec));
  if (!options.quiet) {
    *context->talk << ShortName(job.name()) << "  state " << service.state
                   << "\n";
  }
  absl::Status children = absl::OkStatus();
  FollowOptions follow;
  follow.quiet = options.quiet;
  follow.interrupted = [&] {
    if (children.ok()) children = (*started)->Check();
    return interrupt.requested() || !children.ok();
  };
  auto ended = FollowJob(context, job.name(), follow);
  if (interrupt.requested()) {
    *context->talk << "stopping: writing checkpoints\n";
    (*started)->Stop(absl::Seconds(60));
    *context->talk << "stopped; the same command goes on from the last "
                      "checkpoint\n";
    return kExitInterrupted;
  }
  DASM_RETURN_IF_ERROR(children);
  if (!ended.ok()) return ended.status();
  if (ended->state() != v1::Job::STATE_SUCCEEDED) {
    *context->talk << "error: " << ended->failure().task() << ": "
                   << ended->failure().failure_class() << ": "
                   << ended->failure().message() << "\n";
    return ExitCodeOf(ended->state());
  }
  DASM_RETURN_IF_ERROR(DownloadResult(context, job.name(), options.output));
  DASM_RETURN_IF_ERROR(VerifyDirectory(options.output));
  DASM_ASSIGN_OR_RETURN(
      const std::string report,
      LocalFileSystem()->Read(absl::StrCat(options.output, "/report.json")));
  DASM_ASSIGN_OR_RETURN(const std::string text, ReportText(report));
  *context->out << text;
  *context->talk << "written: " << options.output << "\n";
  return kExitOk;
}

}  // namespace

void AddRun(CLI::App* app, Context* context) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* verb = app->add_subcommand(
      "run", "Run one job here, without a server, and fetch its files");
  verb->footer("Example: dasmctl run examples/quickstart.yaml --output out");
  verb->add_option("file", options->source.file,
                   "Job file, YAML or JSON; - for standard input");
  options->source.AddOptions(verb);
  verb->add_option("--output", options->output,
                   "Folder for synthetic.safetensors, manifest.json, "
                   "report.json and grid.png")
      ->required()
      ->type_name("DIR");
  verb->add_option("--state", options->state,
                   "Database, checkpoints and cached results (default: "
                   "$XDG_STATE_HOME/dasm/run)")
      ->type_name("DIR");
  verb->add_option("--data", options->data,
                   "Folder with data sets (default: /usr/share/datasets)")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
  verb->add_option("--threads", options->threads,
                   "Threads of a task; never changes a result")
      ->check(CLI::Range(1, 1024));
  verb->add_option("--slots", options->slots,
                   "Tasks at a time; never changes a result")
      ->check(CLI::Range(1, 64));
  verb->add_flag("-q,--quiet", options->quiet, "No progress");
  context->Bind(verb, [=] { return Run(context, *options); });
}

}  // namespace dasm
