// dasmctl watch and wait: follow a job, with and without its events.
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
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
  std::string timeout;
};

// "90" (seconds) or "1m30s".
absl::StatusOr<absl::Duration> ParseTimeout(const std::string& text) {
  double seconds;
  absl::Duration timeout;
  if (absl::SimpleAtod(text, &seconds)) {
    timeout = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &timeout)) {
    timeout = absl::ZeroDuration();
  }
  if (timeout <= absl::ZeroDuration()) {
    return InvalidField("timeout", absl::StrCat("\"", text,
                                                "\" is not a time above 0, "
                                                "such as 90 or 1m30s"));
  }
  return timeout;
}

absl::StatusOr<int> Watch(Context* context, const WatchOptions& options,
                          bool quiet) {
  FollowOptions follow;
  follow.quiet = quiet;
  if (!options.timeout.empty()) {
    DASM_ASSIGN_OR_RETURN(follow.timeout, ParseTimeout(options.timeout));
  }
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
  verb->footer(absl::StrCat("Example: dasmctl ", verb_name,
                            " jobs/j0123456789 --timeout 2h"));
  verb->add_option("job", options->job, "Job, e.g. jobs/j0123456789")
      ->required();
  verb->add_option("--timeout", options->timeout,
                   "Exit with 124 after this long: seconds, or 1h30m");
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
