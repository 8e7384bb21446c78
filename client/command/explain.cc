// dasmctl explain: what a job file means, before anything runs.
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/command/commands.h"
#include "client/command/embedded_service.h"
#include "client/command/exit_code.h"
#include "client/command/spec_source.h"
#include "client/command/task_groups.h"
#include "common/base/status_macros.h"
#include "common/spec/yaml.h"

namespace dasm {
namespace {

struct ExplainOptions {
  SpecSource source;
  std::vector<std::string> data;
};

// The YAML with each value's origin behind it, "matching.gradient.inits" being
// found by the indentation.
std::string Annotated(const v1::ExplainJobResponse& response) {
  std::string text;
  std::vector<std::string> path;
  for (absl::string_view line :
       absl::StrSplit(ToYaml(response.expanded_spec()), '\n')) {
    if (line.empty()) continue;
    const size_t indent = line.find_first_not_of(' ');
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos || line[indent] == '-') {
      absl::StrAppend(&text, line, "\n");
      continue;
    }
    path.resize(indent / 2);
    path.push_back(std::string(line.substr(indent, colon - indent)));
    const auto origin = response.origins().find(absl::StrJoin(path, "."));
    absl::StrAppend(&text, line);
    if (origin != response.origins().end()) {
      const size_t pad = line.size() < 52 ? 52 - line.size() : 1;
      absl::StrAppend(&text, std::string(pad, ' '), "# ", origin->second);
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::vector<std::string> Row(const std::string& id, const std::string& kind,
                             int ranks, const std::string& parents,
                             const v1::Cost& cost) {
  return {id,
          kind,
          ranks > 0 ? absl::StrCat(ranks) : "",
          cost.steps() > 0 ? absl::StrCat(cost.steps()) : "",
          absl::StrCat(HumanCount(cost.flops()), "FLOP"),
          HumanBytes(cost.memory_bytes()),
          HumanBytes(cost.artifact_bytes()),
          cost.reduced_bytes_per_step() > 0
              ? HumanBytes(cost.reduced_bytes_per_step())
              : "",
          parents};
}

std::string Seconds(double seconds) {
  return absl::StrFormat("%.3g ms", seconds * 1e3);
}

std::string ScalingTable(const v1::Scaling& scaling) {
  Table table({"RANKS", "MATCH", "TRAIN", "REDUNDANT", "SENT/STEP", "LINK",
               "EXCHANGE", "SPEED-UP", "WITH TRAINER", "LIMIT"});
  const auto times = [](double value) {
    return value > 0 ? absl::StrFormat("%.2f", value) : "";
  };
  for (const v1::ScalingRow& row : scaling.rows()) {
    for (const v1::ScalingLink& link : row.links()) {
      table.Add({absl::StrCat(row.ranks()), Seconds(row.match_seconds()),
                 Seconds(row.train_seconds()), Seconds(row.redundant_seconds()),
                 HumanBytes(static_cast<double>(row.sent_bytes())), link.link(),
                 Seconds(link.exchange_seconds()), times(link.speedup()),
                 times(link.trainer_speedup()), link.limit()});
    }
  }
  return absl::StrCat(
      "a step of ", scaling.task(),
      ", modelled: arithmetic and bytes are counted; that a rank sustains ",
      HumanCount(scaling.flops_per_second()),
      "FLOP/s is assumed, not measured\n", table.ToString(),
      scaling.advice().empty() ? "" : absl::StrCat(scaling.advice(), "\n"));
}

// Of a group: sums, but the highest memory, for its tasks need not run at once.
v1::Cost SumOf(const v1::ExplainJobResponse& response, const TaskGroup& group) {
  v1::Cost sum;
  for (const size_t member : group.members) {
    const v1::Cost& cost = response.tasks(static_cast<int>(member)).cost();
    sum.set_flops(sum.flops() + cost.flops());
    sum.set_artifact_bytes(sum.artifact_bytes() + cost.artifact_bytes());
    sum.set_steps(sum.steps() + cost.steps());
    sum.set_memory_bytes(std::max(sum.memory_bytes(), cost.memory_bytes()));
    sum.set_reduced_bytes_per_step(
        std::max(sum.reduced_bytes_per_step(), cost.reduced_bytes_per_step()));
  }
  return sum;
}

std::string After(const v1::PlannedTask& task) {
  const std::vector<std::string> parents(task.parents().begin(),
                                         task.parents().end());
  return absl::StrJoin(GroupTasks(parents), " ",
                       [](std::string* out, const TaskGroup& group) {
                         absl::StrAppend(out, group.label);
                       });
}

std::string PlanTable(const v1::ExplainJobResponse& response, int columns) {
  std::vector<std::string> ids;
  for (const v1::PlannedTask& task : response.tasks()) ids.push_back(task.id());
  const bool narrow = columns > 0 && columns < kWideColumns;
  Table table(
      narrow ? std::vector<std::string>{"TASK", "KIND", "ARITHMETIC", "MEMORY"}
             : std::vector<std::string>{"TASK", "KIND", "RANKS", "STEPS",
                                        "ARITHMETIC", "MEMORY", "ARTIFACTS",
                                        "REDUCED/STEP", "AFTER"});
  table.set_flexible(narrow ? "TASK" : "AFTER");
  const auto add = [&](std::vector<std::string> row) {
    if (narrow) {
      row.resize(6);
      row.erase(row.begin() + 2, row.begin() + 4);
    }
    table.Add(std::move(row));
  };
  for (const TaskGroup& group : GroupTasks(ids)) {
    const v1::PlannedTask& first =
        response.tasks(static_cast<int>(group.members.front()));
    add(Row(group.label, first.kind(), first.ranks(), After(first),
            SumOf(response, group)));
  }
  add(Row("total", "", 0, "", response.total()));
  return table.ToString(columns);
}

absl::StatusOr<int> Explain(Context* context, const ExplainOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(const v1::JobSpec spec, options.source.Load());
  // Without a server a private coordinator answers: the same code.
  std::unique_ptr<EmbeddedService> embedded;
  if (context->coordinator.empty()) {
    EmbeddedService::Options service;
    service.data = options.data;
    service.with_worker = false;
    auto started = EmbeddedService::Start(service);
    if (!started.ok()) return started.status();
    embedded = *std::move(started);
    context->coordinator = embedded->address();
  }
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::ExplainJobRequest request;
  *request.mutable_spec() = spec;
  DASM_ASSIGN_OR_RETURN(
      const v1::ExplainJobResponse response,
      Call(*context, stubs->jobs.get(), &v1::JobService::Stub::ExplainJob,
           request, absl::Minutes(2)));
  const auto people = [&] {
    *context->out << Annotated(response) << "\n";
    *context->out << PlanTable(response, context->columns());
    if (response.has_scaling()) {
      *context->out << "\n" << ScalingTable(response.scaling());
    }
    for (const std::string& warning : response.warnings()) {
      *context->out << "\nwarning: " << warning << "\n";
    }
  };
  // A plan has no name.
  WriteMessage(response, format, context->out, people, people);
  return kExitOk;
}

}  // namespace

void AddExplain(CLI::App* app, Context* context) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* verb = app->add_subcommand(
      "explain",
      "Show the expanded spec with the origin of each value, the task graph "
      "and the predicted cost");
  verb->footer("Example: dasmctl explain job.yaml --set images_per_class=10");
  verb->add_option("-f,--file,file", options->source.file,
                   "Job file, YAML or JSON; - for standard input");
  options->source.AddOptions(verb);
  verb->add_option("--data", options->data,
                   "Folder with data sets, when no coordinator is named")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
  context->Bind(verb, [=] { return Explain(context, *options); });
}

}  // namespace dasm
