#include "client/command/report_text.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/command/json_member.h"
#include "client/command/output.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

// More networks than these are listed below each other.
constexpr size_t kNetworksAbreast = 2;

std::string PlusMinus(const nlohmann::json& accuracy) {
  const auto mean = Member(accuracy, "mean");
  const auto std = Member(accuracy, "std");
  if (!mean.is_number()) return "";
  return absl::StrFormat("%.1f ± %.1f", mean.get<double>(),
                         std.is_number() ? std.get<double>() : 0.0);
}

using Rows = std::vector<std::pair<std::string, nlohmann::json>>;

// Title and {"images_per_class", "accuracy"} of each set, the job's last.
Rows SetsOf(const nlohmann::json& report) {
  Rows rows;
  const auto per_class = Member(report, "images_per_class");
  const auto baselines = Member(report, "baselines");
  const auto add = [&](const std::string& title, const nlohmann::json& images,
                       const nlohmann::json& of) {
    if (of.is_null()) return;
    rows.push_back(
        {title,
         {{"images_per_class", images}, {"accuracy", Member(of, "accuracy")}}});
  };
  add("random real images", per_class, Member(baselines, "random"));
  add("random tiles, undistilled", per_class, Member(baselines, "tiles"));
  add("own start, undistilled", per_class, Member(baselines, "start"));
  for (const auto& prefix : Member(report, "prefixes")) {
    const auto images = Member(prefix, "images_per_class");
    if (images == per_class) continue;
    add("first segments", images, prefix);
  }
  const auto orders = Member(report, "orders");
  if (orders.is_object()) {
    for (const auto& [order, of] : orders.items()) {
      add(absl::StrCat("trained ", order), per_class, of);
    }
  }
  add("without moving average", per_class, Member(report, "raw"));
  const auto method = Member(report, "method");
  add(method.is_string() ? method.get<std::string>() : "synthetic", per_class,
      report);
  return rows;
}

std::string Number(const nlohmann::json& value) {
  return value.is_number() ? absl::StrFormat("%.4g", value.get<double>()) : "";
}

std::string Numbers(const nlohmann::json& values) {
  std::vector<std::string> texts;
  for (const auto& value : values) {
    if (value.is_number()) texts.push_back(Number(value));
  }
  return absl::StrJoin(texts, ", ");
}

std::string Text(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : "";
}

std::string ExpertsLine(const nlohmann::json& experts) {
  return absl::StrCat(
      Number(Member(experts, "count")), " of ",
      Number(Member(experts, "epochs")), " epochs",
      Member(experts, "training_accuracy").is_number()
          ? absl::StrCat(", training accuracy ",
                         Number(Member(experts, "training_accuracy")), " %")
          : "");
}

// "segment 2: " where there are several.
std::string OfSegment(const nlohmann::json& entry, size_t entries) {
  if (entries < 2) return "";
  return absl::StrCat("segment ", Number(Member(entry, "segment")), ": ");
}

std::string TrajectoryText(const nlohmann::json& report) {
  std::string text;
  const auto line = [&text](const std::string& key, const std::string& value) {
    if (value.empty()) return;
    absl::StrAppend(&text, key, ":", std::string(15 - key.size(), ' '), value,
                    "\n");
  };
  const std::string protocol = Text(Member(report, "protocol"));
  if (protocol.empty()) return "";
  const std::string meaning = Text(Member(report, "protocol_meaning"));
  line("protocol",
       meaning.empty() ? protocol : absl::StrCat(protocol, ": ", meaning));
  const auto chosen = Member(Member(report, "snapshot"), "iteration");
  if (chosen.is_number_integer()) {
    std::set<int64_t> iterations;
    for (const auto& snapshot : Member(report, "snapshots")) {
      const auto iteration = Member(snapshot, "iteration");
      if (iteration.is_number_integer()) {
        iterations.insert(iteration.get<int64_t>());
      }
    }
    line("chosen", absl::StrCat("iteration ", chosen.get<int64_t>(), " of ",
                                iterations.size(), " snapshots"));
  }
  const auto experts = Member(report, "experts");
  for (const auto& entry : experts) {
    line("experts",
         absl::StrCat(OfSegment(entry, experts.size()), ExpertsLine(entry)));
  }
  const auto ranges = Member(report, "ranges");
  for (const auto& entry : ranges) {
    line("range", absl::StrCat(OfSegment(entry, ranges.size()), "start epochs ",
                               Number(Member(entry, "start_epoch_min")), " to ",
                               Number(Member(entry, "start_epoch_max")),
                               ", at first to ",
                               Number(Member(entry, "start_epoch_initial"))));
  }
  line("step size", Numbers(Member(report, "step_sizes")));
  line("label entropy", Numbers(Member(report, "label_entropy")));
  line("skipped", Numbers(Member(report, "skipped_iterations")));
  return text;
}

}  // namespace

absl::StatusOr<std::string> AccuracyTable(const std::string& report_json) {
  const auto report =
      nlohmann::json::parse(report_json, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object() || !report.contains("accuracy")) {
    return absl::DataLossError("the report has no accuracy");
  }
  const Rows sets = SetsOf(report);
  std::vector<std::string> networks;
  for (const auto& [network, unused] : report["accuracy"].items()) {
    networks.push_back(network);
  }
  // Beside each other as far as a terminal is wide.
  const bool few = networks.size() <= kNetworksAbreast;
  std::vector<std::string> abreast = networks;
  if (!few) abreast.resize(1);
  std::vector<std::string> header = {"SET", "IMAGES/CLASS"};
  for (const std::string& network : abreast) {
    header.push_back(absl::StrCat(network, " (test %)"));
  }
  Table table(header);
  for (const auto& [title, set] : sets) {
    const auto images = Member(set, "images_per_class");
    std::vector<std::string> row = {
        title,
        images.is_number_integer() ? absl::StrCat(images.get<int64_t>()) : ""};
    for (const std::string& network : abreast) {
      row.push_back(PlusMinus(Member(Member(set, "accuracy"), network)));
    }
    table.Add(std::move(row));
  }
  if (few) return table.ToString();
  // The job's set, and random images where they were evaluated.
  Table crossed({"NETWORK", sets.back().first, "random"});
  const auto random =
      Member(Member(Member(report, "baselines"), "random"), "accuracy");
  for (const std::string& network : networks) {
    crossed.Add({network, PlusMinus(Member(report["accuracy"], network)),
                 PlusMinus(Member(random, network))});
  }
  return absl::StrCat(table.ToString(), "\n", crossed.ToString());
}

absl::StatusOr<std::string> ReportText(const std::string& report_json) {
  absl::StatusOr<std::string> table = AccuracyTable(report_json);
  if (!table.ok()) return table;
  const std::string more = TrajectoryText(
      nlohmann::json::parse(report_json, nullptr, /*allow_exceptions=*/false));
  return more.empty() ? *table : absl::StrCat(*table, "\n", more);
}

}  // namespace dasm
