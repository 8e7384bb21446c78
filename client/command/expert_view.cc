#include "client/command/expert_view.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/command/job_view.h"
#include "client/command/output.h"
#include "common/base/error.h"

namespace dasm {
namespace {

constexpr size_t kShownDigits = 12;

std::string LowerName(absl::string_view enum_name, absl::string_view prefix) {
  absl::ConsumePrefix(&enum_name, prefix);
  return absl::AsciiStrToLower(enum_name);
}

std::string OptimizerOf(const v1::Expert& expert) {
  return LowerName(
      v1::ExpertSpec::Optimizer_Name(expert.training().optimizer()),
      "OPTIMIZER_");
}

std::string StartOf(const v1::Expert& expert) {
  const int segments = expert.start().segments_size();
  if (!expert.start().trained()) return "random";
  return absl::StrCat("after ", segments,
                      segments == 1 ? " segment" : " segments");
}

std::string UsedBy(const v1::Expert& expert) {
  if (expert.jobs().empty()) return "-";
  const std::string first = LastPart(expert.jobs(0));
  return expert.jobs_size() == 1
             ? first
             : absl::StrCat(first, " (+", expert.jobs_size() - 1, ")");
}

// The parts of a schedule that were given.
std::string ScheduleOf(const v1::DataSchedule& schedule) {
  std::string text =
      absl::StrFormat("from %g of a class to all at epoch %d",
                      schedule.initial_share(), schedule.growth_epochs());
  for (const auto& removal : schedule.removals()) {
    absl::StrAppend(&text,
                    absl::StrFormat(", without the easiest %g after %d",
                                    removal.share(), removal.after_epoch()));
  }
  return schedule.gradual() ? absl::StrCat(text, ", gradually") : text;
}

std::string Augmentations(const v1::ExpertSpec& training) {
  std::vector<std::string> names;
  for (int value : training.augmentation()) {
    names.push_back(
        LowerName(v1::Augmentation_Name(static_cast<v1::Augmentation>(value)),
                  "AUGMENTATION_"));
  }
  return absl::StrJoin(names, " ");
}

}  // namespace

absl::StatusOr<absl::Duration> ParseAge(const std::string& text,
                                        const std::string& option) {
  double number = 0;
  absl::Duration age = absl::ZeroDuration();
  absl::string_view days = text;
  if (absl::ConsumeSuffix(&days, "d") && absl::SimpleAtod(days, &number)) {
    age = number * absl::Hours(24);
  } else if (absl::SimpleAtod(text, &number)) {
    age = absl::Seconds(number);
  } else if (!absl::ParseDuration(text, &age)) {
    age = -absl::InfiniteDuration();
  }
  if (!(age >= absl::ZeroDuration()) || age == absl::InfiniteDuration()) {
    return InvalidField(option,
                        absl::StrCat("\"", text,
                                     "\" is not a time such as 30d, 12h or "
                                     "1h30m"));
  }
  return age;
}

std::string ShortExpertName(const std::string& name) {
  absl::string_view id = name;
  absl::ConsumePrefix(&id, "experts/");
  const size_t dash = id.rfind('-');
  if (dash == absl::string_view::npos) return std::string(id);
  return absl::StrCat(id.substr(0, std::min(dash, kShownDigits)),
                      id.substr(dash));
}

std::string ExpertTable(const std::vector<v1::Expert>& experts, absl::Time now,
                        int columns) {
  // A narrow terminal gets what tells them apart and what they cost.
  const bool narrow = columns > 0 && columns < kWideColumns;
  std::vector<std::string> header = {"EXPERT", "DATA SET", "NETWORK"};
  if (!narrow) {
    header.insert(header.end(),
                  {"EPOCHS", "TRAINED BY", "SEED", "START", "CREATED"});
  }
  header.insert(header.end(), {"SIZE", "USED", "IN USE BY"});
  Table table(header);
  table.set_flexible("NETWORK");
  for (const v1::Expert& expert : experts) {
    std::string dataset = expert.dataset().empty() ? "-" : expert.dataset();
    if (expert.preprocessing() == v1::DatasetSpec::PREPROCESSING_ZCA) {
      absl::StrAppend(&dataset, "/zca");
    }
    std::vector<std::string> row = {ShortExpertName(expert.name()), dataset,
                                    expert.network()};
    if (!narrow) {
      row.insert(
          row.end(),
          {absl::StrCat(expert.training().epochs()), OptimizerOf(expert),
           absl::StrCat(expert.seed(), "/", expert.index()), StartOf(expert),
           HumanAge(expert.create_time().seconds(), now)});
    }
    row.insert(row.end(),
               {HumanBytes(static_cast<double>(expert.size_bytes())),
                HumanAge(expert.use_time().seconds(), now), UsedBy(expert)});
    table.Add(std::move(row));
  }
  return table.ToString(columns);
}

std::string DescribeExpert(const v1::Expert& expert, absl::Time now) {
  std::string text;
  const auto line = [&text](const std::string& key, const std::string& value) {
    if (value.empty()) return;
    absl::StrAppend(&text, key, ":", std::string(16 - key.size(), ' '), value,
                    "\n");
  };
  const v1::ExpertSpec& training = expert.training();
  line("expert", expert.name());
  line("group", absl::StrCat(expert.number(), " of ", expert.group_size()));
  line("digest", expert.digest());
  line("size", HumanBytes(static_cast<double>(expert.size_bytes())));
  line("data set", expert.dataset());
  line("preprocessing",
       LowerName(v1::DatasetSpec::Preprocessing_Name(expert.preprocessing()),
                 "PREPROCESSING_"));
  line("network", expert.network());
  line("epochs", absl::StrCat(training.epochs()));
  line("optimizer",
       training.optimizer() == v1::ExpertSpec::OPTIMIZER_GSAM
           ? absl::StrFormat("gsam, rho %g, alpha %g", training.gsam_rho(),
                             training.gsam_alpha())
           : OptimizerOf(expert));
  line("batch", absl::StrCat(training.batch()));
  line("learning rate", absl::StrFormat("%g", training.learning_rate()));
  line("momentum", absl::StrFormat("%g", training.momentum()));
  line("weight decay", absl::StrFormat("%g", training.weight_decay()));
  line("augmentation", Augmentations(training));
  if (training.has_schedule())
    line("schedule", ScheduleOf(training.schedule()));
  line("seed", absl::StrCat(expert.seed(), ", expert ", expert.index()));
  line("start", StartOf(expert));
  for (const std::string& segment : expert.start().segments()) {
    line("  trained on", segment);
  }
  line("numerics", expert.numerics_class());
  if (expert.has_final_loss()) {
    line("final loss", absl::StrFormat("%.4g", expert.final_loss()));
  }
  if (expert.has_training_accuracy()) {
    line("accuracy", absl::StrFormat("%.2f %% of the training images",
                                     expert.training_accuracy()));
  }
  line("trained in", HumanDuration(absl::Seconds(expert.training_seconds())));
  line("created",
       absl::StrCat(HumanTime(expert.create_time().seconds()), " (",
                    HumanAge(expert.create_time().seconds(), now), ")"));
  line("used", HumanAge(expert.use_time().seconds(), now));
  for (const std::string& job : expert.jobs()) {
    line("in use by", ShortName(job));
  }
  if (!expert.inputs().empty()) {
    Table table({"INPUT", "SIZE", "MADE BY", "DIGEST"});
    for (const v1::ExpertInput& input : expert.inputs()) {
      table.Add(
          {input.input(), HumanBytes(static_cast<double>(input.size_bytes())),
           input.made_by().empty() ? "-" : input.made_by(), input.digest()});
    }
    absl::StrAppend(&text, "\n", table.ToString());
  }
  if (!expert.parameters_json().empty()) {
    absl::StrAppend(&text, "\nparameters ", expert.parameters_json(),
                    "\nsummary    ", expert.summary_json(), "\n");
  }
  return text;
}

std::string VerdictLine(const v1::VerifyExpertResponse& response) {
  const v1::Expert& expert = response.expert();
  std::string verdict;
  switch (response.result()) {
    case v1::VerifyExpertResponse::RESULT_OK:
      verdict = "ok         ";
      break;
    case v1::VerifyExpertResponse::RESULT_MISSING:
      verdict = "missing    ";
      break;
    default:
      verdict = "quarantined";
      break;
  }
  return absl::StrCat(
      verdict, "  ", ShortExpertName(expert.name()), "  ", expert.digest(),
      "  ", HumanBytes(static_cast<double>(expert.size_bytes())),
      response.message().empty() ? "" : "  ", response.message());
}

std::string PruneSummary(const v1::PruneExpertsResponse& response, bool dry_run,
                         absl::Time now, int columns) {
  std::string text;
  const auto add = [&](const auto& experts, int64_t count) {
    if (experts.empty()) return;
    absl::StrAppend(
        &text, ExpertTable({experts.begin(), experts.end()}, now, columns));
    if (count > experts.size()) {
      absl::StrAppend(&text, "and ", count - experts.size(), " more\n");
    }
  };
  add(response.pruned(), response.pruned_count());
  absl::StrAppend(&text, dry_run ? "would prune " : "pruned ",
                  response.pruned_count(), " experts, ",
                  HumanBytes(static_cast<double>(response.pruned_bytes())),
                  "\n");
  if (response.in_use_count() > 0) {
    absl::StrAppend(&text, "\n");
    add(response.in_use(), response.in_use_count());
    absl::StrAppend(&text, "kept ", response.in_use_count(),
                    " experts that live jobs use\n");
  }
  return text;
}

}  // namespace dasm
