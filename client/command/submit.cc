// dasmctl submit: hands a job file to the service.
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/follow.h"
#include "client/command/job_view.h"
#include "client/command/spec_source.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

struct SubmitOptions {
  SpecSource source;
  std::string request_id;
  bool dry_run = false;
  bool wait = false;
  bool quiet = false;
};

absl::StatusOr<int> Submit(Context* context, const SubmitOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(const v1::JobSpec spec, options.source.Load());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::CreateJobRequest request;
  *request.mutable_spec() = spec;
  // Made before the first try, so that a retry never makes a second job.
  request.set_request_id(options.request_id.empty() ? NewUuid()
                                                    : options.request_id);
  request.set_validate_only(options.dry_run);
  DASM_ASSIGN_OR_RETURN(v1::Job job, Call(*context, stubs->jobs.get(),
                                          &v1::JobService::Stub::CreateJob,
                                          request, absl::Minutes(2)));
  if (options.dry_run) {
    *context->talk << "the spec is valid: " << job.tasks_total()
                   << " tasks; nothing was submitted\n";
    return kExitOk;
  }
  const std::string name = ShortName(job.name());
  if (!options.wait) {
    if (format == OutputFormat::kTable) {
      *context->out << name << " submitted (" << job.method() << ", "
                    << job.tasks_total() << " tasks)\n";
      return kExitOk;
    }
    DASM_RETURN_IF_ERROR(PrintJob(context, job));
    return kExitOk;
  }
  *context->talk << name << " submitted\n";
  FollowOptions follow;
  follow.quiet = options.quiet;
  auto ended = FollowJob(context, job.name(), follow);
  if (!ended.ok()) return ended.status();
  if (format == OutputFormat::kTable) {
    *context->out << name << " " << StateName(ended->state()) << "\n";
  } else {
    DASM_RETURN_IF_ERROR(PrintJob(context, *ended));
  }
  if (ended->state() == v1::Job::STATE_FAILED) {
    *context->talk << "error: " << ended->failure().task() << ": "
                   << ended->failure().failure_class() << ": "
                   << ended->failure().message() << "\n";
  }
  return ExitCodeOf(ended->state());
}

}  // namespace

void AddSubmit(CLI::App* app, Context* context) {
  auto options = std::make_shared<SubmitOptions>();
  CLI::App* verb = app->add_subcommand("submit", "Submit a job file");
  verb->footer("Example: dasmctl submit -f job.yaml --set seed=1 --wait");
  verb->add_option("-f,--file,file", options->source.file,
                   "Job file, YAML or JSON; - for standard input");
  options->source.AddOptions(verb);
  verb->add_flag("--dry-run", options->dry_run,
                 "Check everything on the server, submit nothing");
  verb->add_flag("--wait", options->wait,
                 "Follow the job; exit 0, 10 (failed) or 11 (cancelled)");
  verb->add_flag("-q,--quiet", options->quiet, "With --wait: no progress");
  verb->add_option("--request-id", options->request_id,
                   "The same id gives the same job (default: a new one)");
  context->Bind(verb, [=] { return Submit(context, *options); });
}

}  // namespace dasm
