// dasmctl list: jobs, newest first.
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/job_view.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

struct ListOptions {
  std::vector<std::string> states;
  int limit = 50;
  std::string page_token;
};

absl::StatusOr<int> List(Context* context, const ListOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::ListJobsRequest request;
  request.set_page_size(options.limit);
  request.set_page_token(options.page_token);
  request.set_filter(absl::StrJoin(
      options.states, " OR ", [](std::string* out, const std::string& state) {
        absl::StrAppend(out, "state=", absl::AsciiStrToUpper(state));
      }));
  DASM_ASSIGN_OR_RETURN(const v1::ListJobsResponse response,
                        Call(*context, stubs->jobs.get(),
                             &v1::JobService::Stub::ListJobs, request));
  WriteMessage(
      response, format, context->out,
      [&] {
        Table table(
            {"JOB", "NAME", "METHOD", "STATE", "TASKS", "CREATED", "ELAPSED"});
        table.set_flexible("NAME");
        const absl::Time now = absl::Now();
        for (const v1::Job& job : response.jobs()) {
          table.Add(
              {ShortName(job.name()), job.spec().name(), job.method(),
               StateName(job.state()),
               absl::StrCat(job.tasks_done(), "/", job.tasks_total()),
               HumanAge(job.create_time().seconds(), now),
               job.has_start_time() ? HumanDuration(Elapsed(job, now)) : "-"});
        }
        *context->out << table.ToString(context->columns());
        if (!response.next_page_token().empty()) {
          *context->talk << "more: --page-token " << response.next_page_token()
                         << "\n";
        }
      },
      [&] {
        for (const v1::Job& job : response.jobs()) {
          *context->out << ShortName(job.name()) << "\n";
        }
      });
  return kExitOk;
}

}  // namespace

void AddList(CLI::App* app, Context* context) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* verb = app->add_subcommand("list", "List jobs, newest first");
  verb->footer("Example: dasmctl list --state running --state queued");
  verb->add_option("--state", options->states,
                   "Only these, e.g. running (may be given often)")
      ->expected(1)
      ->take_all();
  verb->add_option("--limit", options->limit, "Jobs a page")
      ->check(CLI::Range(1, 1000));
  verb->add_option("--page-token", options->page_token,
                   "As the last page ended");
  context->Bind(verb, [=] { return List(context, *options); });
}

}  // namespace dasm
