// dasmctl expert: the trained experts that jobs share.
#include <algorithm>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/expert_view.h"
#include "client/command/job_view.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr int kLargestExpertPage = 1000;

struct ExpertFilterOptions {
  std::string dataset;
  std::string network;
  std::string older_than;
  std::string unused_for;

  void AddTo(CLI::App* verb) {
    verb->add_option("--dataset", dataset, "Only of this data set")
        ->type_name("NAME");
    verb->add_option("--network", network,
                     "Only of this network, as the list has it")
        ->type_name("NAME");
    verb->add_option("--older-than", older_than,
                     "Only trained longer ago than this, e.g. 30d or 12h")
        ->type_name("TIME");
    verb->add_option("--unused-for", unused_for,
                     "Only not used by any job for this long")
        ->type_name("TIME");
  }
  absl::StatusOr<std::string> ToFilter(absl::Time now) const {
    std::vector<std::string> terms;
    if (!dataset.empty()) terms.push_back(absl::StrCat("dataset=", dataset));
    if (!network.empty()) terms.push_back(absl::StrCat("network=", network));
    for (const auto& [text, option, field] :
         {std::tuple(older_than, "older-than", "create_time"),
          {unused_for, "unused-for", "use_time"}}) {
      if (text.empty()) continue;
      DASM_ASSIGN_OR_RETURN(const absl::Duration age, ParseAge(text, option));
      terms.push_back(absl::StrCat(
          field, "<\"",
          absl::FormatTime(absl::RFC3339_sec, now - age, absl::UTCTimeZone()),
          "\""));
    }
    return absl::StrJoin(terms, " AND ");
  }
};

struct ExpertListOptions {
  ExpertFilterOptions filter;
  int limit = 50;
  std::string page_token;
};

struct ExpertVerifyOptions {
  std::vector<std::string> names;
  bool all = false;
};

struct ExpertPruneOptions {
  ExpertFilterOptions filter;
  std::vector<std::string> names;
  bool all = false;
  bool dry_run = false;
};

std::string FullExpertName(const std::string& name) {
  return absl::StartsWith(name, "experts/") ? name
                                            : absl::StrCat("experts/", name);
}

absl::StatusOr<int> ListExperts(Context* context,
                                const ExpertListOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::ListExpertsRequest request;
  request.set_page_size(options.limit);
  request.set_page_token(options.page_token);
  DASM_ASSIGN_OR_RETURN(*request.mutable_filter(),
                        options.filter.ToFilter(absl::Now()));
  DASM_ASSIGN_OR_RETURN(const v1::ListExpertsResponse response,
                        Call(*context, stubs->experts.get(),
                             &v1::ExpertService::Stub::ListExperts, request));
  WriteMessage(
      response, format, context->out,
      [&] {
        *context->out << ExpertTable(
            {response.experts().begin(), response.experts().end()}, absl::Now(),
            context->columns());
        if (!response.next_page_token().empty()) {
          *context->talk << "more: --page-token " << response.next_page_token()
                         << "\n";
        }
      },
      [&] {
        for (const v1::Expert& expert : response.experts()) {
          *context->out << expert.name() << "\n";
        }
      });
  return kExitOk;
}

absl::StatusOr<int> DescribeOne(Context* context, const std::string& name) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::GetExpertRequest request;
  request.set_name(FullExpertName(name));
  DASM_ASSIGN_OR_RETURN(const v1::Expert expert,
                        Call(*context, stubs->experts.get(),
                             &v1::ExpertService::Stub::GetExpert, request));
  WriteMessage(
      expert, format, context->out,
      [&] { *context->out << DescribeExpert(expert, absl::Now()); },
      [&] { *context->out << expert.name() << "\n"; });
  return kExitOk;
}

// Every name that there is, page after page.
absl::StatusOr<std::vector<std::string>> AllExpertNames(Context* context,
                                                        Stubs* stubs) {
  std::vector<std::string> names;
  v1::ListExpertsRequest request;
  request.set_page_size(kLargestExpertPage);
  do {
    DASM_ASSIGN_OR_RETURN(const v1::ListExpertsResponse response,
                          Call(*context, stubs->experts.get(),
                               &v1::ExpertService::Stub::ListExperts, request));
    for (const v1::Expert& expert : response.experts()) {
      names.push_back(expert.name());
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return names;
}

absl::StatusOr<int> VerifyExperts(Context* context,
                                  const ExpertVerifyOptions& options) {
  if (options.names.empty() != options.all) {
    return InvalidField("expert", "name experts, or give --all");
  }
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  std::vector<std::string> names;
  for (const std::string& name : options.names) {
    names.push_back(FullExpertName(name));
  }
  if (options.all) {
    DASM_ASSIGN_OR_RETURN(names, AllExpertNames(context, stubs));
  }
  int bad = 0;
  for (const std::string& name : names) {
    v1::VerifyExpertRequest request;
    request.set_name(name);
    const absl::StatusOr<v1::VerifyExpertResponse> response = Call(
        *context, stubs->experts.get(), &v1::ExpertService::Stub::VerifyExpert,
        request, absl::Minutes(10));
    // One that was pruned since it was listed.
    if (options.all && absl::IsNotFound(response.status())) continue;
    DASM_RETURN_IF_ERROR(response.status());
    if (response->result() != v1::VerifyExpertResponse::RESULT_OK) ++bad;
    *context->out << VerdictLine(*response) << "\n";
  }
  if (bad == 0) return kExitOk;
  return absl::DataLossError(
      absl::StrCat(bad, " of ", names.size(),
                   " experts were damaged; they are trained "
                   "again"));
}

absl::StatusOr<int> PruneExperts(Context* context,
                                 const ExpertPruneOptions& options) {
  DASM_ASSIGN_OR_RETURN(const OutputFormat format, context->format());
  v1::PruneExpertsRequest request;
  for (const std::string& name : options.names) {
    request.add_names(FullExpertName(name));
  }
  DASM_ASSIGN_OR_RETURN(std::string filter,
                        options.filter.ToFilter(absl::Now()));
  const int ways = (options.names.empty() ? 0 : 1) + (filter.empty() ? 0 : 1) +
                   (options.all ? 1 : 0);
  if (ways != 1) {
    return InvalidField("expert",
                        "say what to prune in one way: names, a filter such "
                        "as --unused-for 30d, or --all");
  }
  request.set_filter(options.all ? "*" : filter);
  request.set_validate_only(options.dry_run);
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  DASM_ASSIGN_OR_RETURN(
      const v1::PruneExpertsResponse response,
      Call(*context, stubs->experts.get(),
           &v1::ExpertService::Stub::PruneExperts, request, absl::Minutes(10)));
  WriteMessage(
      response, format, context->out,
      [&] {
        *context->out << PruneSummary(response, options.dry_run, absl::Now(),
                                      context->columns());
      },
      [&] {
        for (const v1::Expert& expert : response.pruned()) {
          *context->out << expert.name() << "\n";
        }
      });
  return kExitOk;
}

}  // namespace

void AddExpert(CLI::App* app, Context* context) {
  CLI::App* noun = app->add_subcommand(
      "expert", "List, describe, verify or prune trained experts");
  noun->footer("Example: dasmctl expert list");
  noun->require_subcommand(1);
  noun->fallthrough();

  auto list = std::make_shared<ExpertListOptions>();
  CLI::App* verb = noun->add_subcommand("list", "List experts, newest first");
  verb->footer(
      "Example: dasmctl expert list --network convnet-d3-w128-instance");
  list->filter.AddTo(verb);
  verb->add_option("--limit", list->limit, "Experts a page")
      ->check(CLI::Range(1, kLargestExpertPage));
  verb->add_option("--page-token", list->page_token, "As the last page ended");
  context->Bind(verb, [=] { return ListExperts(context, *list); });

  auto name = std::make_shared<std::string>();
  verb = noun->add_subcommand("describe",
                              "Show an expert's parameters and parents");
  verb->footer("Example: dasmctl expert describe 1a2b3c4d5e6f-1");
  verb->add_option("expert", *name, "Expert, as a list names it")->required();
  context->Bind(verb, [=] { return DescribeOne(context, *name); });

  auto verify = std::make_shared<ExpertVerifyOptions>();
  verb = noun->add_subcommand(
      "verify", "Hash stored experts again; damaged ones are quarantined");
  verb->footer("Example: dasmctl expert verify --all");
  verb->add_option("expert", verify->names, "Experts, as a list names them");
  verb->add_flag("--all", verify->all, "All of them");
  context->Bind(verb, [=] { return VerifyExperts(context, *verify); });

  auto prune = std::make_shared<ExpertPruneOptions>();
  verb = noun->add_subcommand(
      "prune",
      "Remove experts, whole groups, that no live job uses; a later job trains "
      "them again");
  verb->footer("Example: dasmctl expert prune --unused-for 30d --dry-run");
  verb->add_option("expert", prune->names,
                   "Experts, as a list names them, with their groups");
  prune->filter.AddTo(verb);
  verb->add_flag("--all", prune->all, "All that no live job uses");
  verb->add_flag("--dry-run", prune->dry_run, "Only say what would go");
  context->Bind(verb, [=] { return PruneExperts(context, *prune); });
}

}  // namespace dasm
