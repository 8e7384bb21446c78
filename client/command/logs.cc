// dasmctl logs: what the runners of a job wrote.
#include <memory>

#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

struct LogsOptions {
  std::string job;
  std::string task;
  bool follow = false;
};

absl::StatusOr<int> Logs(Context* context, const LogsOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::ReadLogsRequest request;
  request.set_name(options.job);
  request.set_task(options.task);
  request.set_follow(options.follow);
  grpc::ClientContext call;
  auto stream = stubs->jobs->ReadLogs(&call, request);
  v1::LogLine line;
  while (stream->Read(&line)) {
    if (format == OutputFormat::kJson) {
      *context->out << JsonText(line) << "\n";
      continue;
    }
    *context->out << HumanTime(line.time().seconds()) << "  " << line.task()
                  << "#" << line.attempt() << "  " << line.severity() << "  "
                  << line.text() << std::endl;
  }
  DASM_RETURN_IF_ERROR(FromServer(*context, stream->Finish()));
  return kExitOk;
}

}  // namespace

void AddLogs(CLI::App* app, Context* context) {
  auto options = std::make_shared<LogsOptions>();
  CLI::App* verb = app->add_subcommand("logs", "Print a job's log lines");
  verb->footer("Example: dasmctl logs -f jobs/j0123456789 --task segment-1");
  verb->add_option("job", options->job, "Job, e.g. jobs/j0123456789")
      ->required();
  verb->add_option("--task", options->task, "Only this task's");
  verb->add_flag("-f,--follow", options->follow, "Go on until the job ends");
  context->Bind(verb, [=] { return Logs(context, *options); });
}

}  // namespace dasm
