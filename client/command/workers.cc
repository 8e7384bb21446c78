// dasmctl workers and drain: the machines of the service.
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/job_view.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

std::string StateOf(const v1::Worker& worker) {
  return std::string(
      absl::StripPrefix(v1::Worker::State_Name(worker.state()), "STATE_"));
}

absl::StatusOr<int> Workers(Context* context) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  DASM_ASSIGN_OR_RETURN(
      const v1::ListWorkersResponse response,
      Call(*context, stubs->cluster.get(),
           &v1::ClusterService::Stub::ListWorkers, v1::ListWorkersRequest()));
  WriteMessage(
      response, format, context->out,
      [&] {
        Table table({"WORKER", "STATE", "SLOTS", "THREADS", "NUMERICS",
                     "MEMORY", "VERSION", "LAST SEEN"});
        table.set_flexible("NUMERICS");
        const absl::Time now = absl::Now();
        for (const v1::Worker& worker : response.workers()) {
          table.Add({LastPart(worker.name()), StateOf(worker),
                     absl::StrCat(worker.busy_slots(), "/", worker.slots()),
                     absl::StrCat(worker.threads()), worker.numerics_class(),
                     HumanBytes(worker.memory_bytes()), worker.version(),
                     HumanAge(worker.last_seen_time().seconds(), now)});
        }
        *context->out << table.ToString(context->columns());
      },
      [&] {
        for (const v1::Worker& worker : response.workers()) {
          *context->out << worker.name() << "\n";
        }
      });
  return kExitOk;
}

absl::StatusOr<int> Drain(Context* context, const std::string& name,
                          bool undo) {
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::DrainWorkerRequest request;
  request.set_name(
      name.rfind("workers/", 0) == 0 ? name : absl::StrCat("workers/", name));
  request.set_undo(undo);
  DASM_ASSIGN_OR_RETURN(const v1::Worker worker,
                        Call(*context, stubs->cluster.get(),
                             &v1::ClusterService::Stub::DrainWorker, request));
  *context->out << worker.name() << " " << StateOf(worker) << "\n";
  return kExitOk;
}

}  // namespace

void AddWorkers(CLI::App* app, Context* context) {
  CLI::App* verb = app->add_subcommand("workers", "List the workers");
  verb->footer("Example: dasmctl workers -o json");
  context->Bind(verb, [=] { return Workers(context); });
}

void AddDrain(CLI::App* app, Context* context) {
  auto name = std::make_shared<std::string>();
  auto undo = std::make_shared<bool>(false);
  CLI::App* verb =
      app->add_subcommand("drain", "Let a worker finish and take nothing new");
  verb->footer("Example: dasmctl drain gpu-node-3-a1b2c3");
  verb->add_option("worker", *name, "Worker, as `dasmctl workers` names it")
      ->required();
  verb->add_flag("--undo", *undo, "Let it take work again");
  context->Bind(verb, [=] { return Drain(context, *name, *undo); });
}

}  // namespace dasm
