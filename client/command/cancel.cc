// dasmctl cancel: ends a job; what it computed stays in the cache.
#include <memory>

#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/job_view.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

struct CancelOptions {
  std::string job;
  std::string message;
};

absl::StatusOr<int> Cancel(Context* context, const CancelOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::CancelJobRequest request;
  request.set_name(options.job);
  request.set_message(options.message);
  DASM_ASSIGN_OR_RETURN(const v1::Job job,
                        Call(*context, stubs->jobs.get(),
                             &v1::JobService::Stub::CancelJob, request));
  if (format == OutputFormat::kTable) {
    *context->out << ShortName(job.name()) << " " << StateName(job.state())
                  << "\n";
  } else {
    DASM_RETURN_IF_ERROR(PrintJob(context, job));
  }
  return kExitOk;
}

}  // namespace

void AddCancel(CLI::App* app, Context* context) {
  auto options = std::make_shared<CancelOptions>();
  CLI::App* verb = app->add_subcommand("cancel", "Cancel a job");
  verb->footer(
      "Example: dasmctl cancel jobs/j0123456789 --message \"wrong data\"");
  verb->add_option("job", options->job, "Job, e.g. jobs/j0123456789")
      ->required();
  verb->add_option("--message", options->message, "Why, for its history");
  context->Bind(verb, [=] { return Cancel(context, *options); });
}

}  // namespace dasm
