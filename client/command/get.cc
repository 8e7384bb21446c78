// dasmctl get and describe: one job, without and with its tasks.
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/job_view.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

absl::StatusOr<int> Get(Context* context, const std::string& name,
                        v1::JobView view) {
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::GetJobRequest request;
  request.set_name(name);
  request.set_view(view);
  DASM_ASSIGN_OR_RETURN(const v1::Job job,
                        Call(*context, stubs->jobs.get(),
                             &v1::JobService::Stub::GetJob, request));
  DASM_RETURN_IF_ERROR(PrintJob(context, job));
  return kExitOk;
}

void AddView(CLI::App* app, Context* context, const char* verb_name,
             const char* help, v1::JobView view) {
  auto name = std::make_shared<std::string>();
  CLI::App* verb = app->add_subcommand(verb_name, help);
  verb->footer(
      absl::StrCat("Example: dasmctl ", verb_name, " jobs/j0123456789"));
  verb->add_option("job", *name, "Job, e.g. jobs/j0123456789")->required();
  context->Bind(verb, [=] { return Get(context, *name, view); });
}

}  // namespace

void AddGet(CLI::App* app, Context* context) {
  AddView(app, context, "get", "Show a job", v1::JOB_VIEW_BASIC);
}

void AddDescribe(CLI::App* app, Context* context) {
  AddView(app, context, "describe", "Show a job, its tasks and why they wait",
          v1::JOB_VIEW_FULL);
}

}  // namespace dasm
