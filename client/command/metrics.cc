// dasmctl metrics: the history of a job's series.
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

struct MetricsOptions {
  std::string job;
  std::string task;
  std::string series;
  bool csv = false;
};

absl::StatusOr<int> Metrics(Context* context, const MetricsOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  if (options.csv) *context->out << "task,series,step,time,value\n";
  std::map<std::pair<std::string, std::string>, std::vector<double>> history;
  v1::ListMetricsResponse all;
  v1::ListMetricsRequest request;
  request.set_name(options.job);
  request.set_task(options.task);
  request.set_series(options.series);
  do {
    DASM_ASSIGN_OR_RETURN(const v1::ListMetricsResponse page,
                          Call(*context, stubs->jobs.get(),
                               &v1::JobService::Stub::ListMetrics, request));
    for (const v1::MetricPoint& point : page.points()) {
      if (options.csv) {
        const absl::Time time = absl::FromUnixSeconds(point.time().seconds()) +
                                absl::Nanoseconds(point.time().nanos());
        *context->out << point.task() << "," << point.series() << ","
                      << point.step() << ","
                      << absl::FormatTime(absl::RFC3339_full, time,
                                          absl::UTCTimeZone())
                      << "," << absl::StrFormat("%.9g", point.value()) << "\n";
        continue;
      }
      history[{point.task(), point.series()}].push_back(point.value());
      *all.add_points() = point;
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (options.csv) return kExitOk;
  WriteMessage(
      all, format, context->out,
      [&] {
        Table table({"TASK", "SERIES", "POINTS", "FIRST", "LAST", "COURSE"});
        table.set_flexible("TASK");
        for (const auto& [key, values] : history) {
          table.Add({key.first, key.second, absl::StrCat(values.size()),
                     absl::StrFormat("%.5g", values.front()),
                     absl::StrFormat("%.5g", values.back()),
                     Sparkline(values, 32)});
        }
        *context->out << table.ToString(context->columns());
      },
      [&] {
        for (const auto& [key, values] : history) {
          *context->out << key.first << "/" << key.second << "\n";
        }
      });
  return kExitOk;
}

}  // namespace

void AddMetrics(CLI::App* app, Context* context) {
  auto options = std::make_shared<MetricsOptions>();
  CLI::App* verb =
      app->add_subcommand("metrics", "Show a job's series, e.g. its loss");
  verb->footer(
      "Example: dasmctl metrics jobs/j0123456789 --series matching_loss --csv");
  verb->add_option("job", options->job, "Job, e.g. jobs/j0123456789")
      ->required();
  verb->add_option("--task", options->task, "Only this task's");
  verb->add_option("--series", options->series, "Only this one");
  verb->add_flag("--csv", options->csv, "Every point, comma-separated");
  context->Bind(verb, [=] { return Metrics(context, *options); });
}

}  // namespace dasm
