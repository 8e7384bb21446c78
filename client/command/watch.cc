// dasmctl watch and wait: follow a job, with and without its events.
#include <memory>

#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/follow.h"
#include "client/command/interrupt.h"
#include "client/command/job_view.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

struct WatchOptions {
  std::string job;
  double timeout = 0;
};

absl::StatusOr<int> Watch(Context* context, const WatchOptions& options,
                          bool quiet) {
  FollowOptions follow;
  follow.quiet = quiet;
  if (options.timeout > 0) follow.timeout = absl::Seconds(options.timeout);
  const Interrupt interrupt;
  follow.interrupted = [&interrupt] { return interrupt.requested(); };
  const auto job = FollowJob(context, options.job, follow);
  if (!job.ok()) {
    if (ReasonOf(job.status()) == "WAIT_TIMEOUT") {
      *context->talk << ErrorLine(job.status()) << "\n";
      return kExitTimeout;
    }
    return job.status();
  }
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  if (format == OutputFormat::kTable) {
    *context->out << ShortName(job->name()) << " " << StateName(job->state())
                  << "\n";
  } else {
    DASM_RETURN_IF_ERROR(PrintJob(context, *job));
  }
  return ExitCodeOf(job->state());
}

void AddFollower(CLI::App* app, Context* context, const char* verb_name,
                 const char* help, bool quiet) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* verb = app->add_subcommand(verb_name, help);
  verb->add_option("job", options->job, "Job, e.g. jobs/j0123456789")
      ->required();
  verb->add_option("--timeout", options->timeout,
                   "Seconds after which to exit with 124")
      ->check(CLI::PositiveNumber);
  context->Bind(verb, [=] { return Watch(context, *options, quiet); });
}

}  // namespace

void AddWatch(CLI::App* app, Context* context) {
  AddFollower(app, context, "watch",
              "Follow a job's progress; Ctrl-C detaches, the job goes on",
              false);
}

void AddWait(CLI::App* app, Context* context) {
  AddFollower(app, context, "wait",
              "Wait for a job's end; exit 0, 10 (failed) or 11 (cancelled)",
              true);
}

}  // namespace dasm
