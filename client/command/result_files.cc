#include "client/command/result_files.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/command/output.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "common/rpc/blob_transfer.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

// Outputs of a job that a user gets, and their names on disk.
const std::map<std::string, std::string>& FileNames() {
  static const auto* names = new std::map<std::string, std::string>{
      {"synthetic", "synthetic.safetensors"}, {"grid", "grid.png"}};
  return *names;
}

// null where `value` is no object or has no such member: files on a user's disk
// may hold anything.
nlohmann::json Member(const nlohmann::json& value, const std::string& name) {
  return value.is_object() ? value.value(name, nlohmann::json())
                           : nlohmann::json();
}

std::string PlusMinus(const nlohmann::json& accuracy) {
  const auto mean = Member(accuracy, "mean");
  const auto std = Member(accuracy, "std");
  if (!mean.is_number()) return "";
  return absl::StrFormat("%.1f ± %.1f", mean.get<double>(),
                         std.is_number() ? std.get<double>() : 0.0);
}

}  // namespace

absl::Status DownloadResult(Context* context, const std::string& job,
                            const std::string& directory) {
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  FileSystem* fs = LocalFileSystem();
  v1::GetJobReportRequest request;
  request.set_name(job);
  DASM_ASSIGN_OR_RETURN(const v1::JobReport report,
                        Call(*context, stubs->jobs.get(),
                             &v1::JobService::Stub::GetJobReport, request));
  if (auto made = fs->CreateDirectories(directory); !made.ok()) {
    return WithReason(made, "OUTPUT_UNWRITABLE", "output");
  }
  for (const v1::OutputBlob& file : report.files()) {
    const auto name = FileNames().find(file.output());
    if (name == FileNames().end()) continue;
    DASM_RETURN_IF_ERROR(
        WithContext(DownloadBlob(stubs->artifacts.get(), file.digest(), fs,
                                 absl::StrCat(directory, "/", name->second)),
                    name->second));
  }
  DASM_RETURN_IF_ERROR(WriteFileAtomically(
      fs, absl::StrCat(directory, "/manifest.json"), report.manifest_json()));
  return WriteFileAtomically(fs, absl::StrCat(directory, "/report.json"),
                             report.report_json());
}

absl::Status VerifyDirectory(const std::string& directory) {
  FileSystem* fs = LocalFileSystem();
  const std::string path = absl::StrCat(directory, "/manifest.json");
  DASM_ASSIGN_OR_RETURN(const std::string text, fs->Read(path));
  const auto manifest =
      nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("files") ||
      !manifest["files"].is_object()) {
    return absl::DataLossError(
        absl::StrCat(path, " is not a manifest: download the job again"));
  }
  std::vector<std::string> bad;
  for (const auto& [output, file] : manifest["files"].items()) {
    const auto name = FileNames().find(output);
    if (name == FileNames().end()) continue;
    const auto hashed =
        HashFile(fs, absl::StrCat(directory, "/", name->second));
    if (!hashed.ok()) {
      bad.push_back(
          absl::StrCat(name->second, " (", hashed.status().message(), ")"));
    } else if (Member(file, "digest") != hashed->digest) {
      bad.push_back(absl::StrCat(name->second, " (is ", hashed->digest, ")"));
    }
  }
  if (bad.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      directory, ": not what the manifest says: ", absl::StrJoin(bad, ", "),
      "; download the job again"));
}

absl::StatusOr<std::string> AccuracyTable(const std::string& report_json) {
  const auto report =
      nlohmann::json::parse(report_json, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object() || !report.contains("accuracy")) {
    return absl::DataLossError("the report has no accuracy");
  }
  std::vector<std::string> networks;
  std::vector<std::string> header = {"SET", "IMAGES/CLASS"};
  for (const auto& [network, unused] : report["accuracy"].items()) {
    networks.push_back(network);
    header.push_back(absl::StrCat(network, " (test %)"));
  }
  Table table(header);
  auto add = [&](const std::string& set, const nlohmann::json& images,
                 const nlohmann::json& accuracy) {
    std::vector<std::string> row = {
        set,
        images.is_number_integer() ? absl::StrCat(images.get<int64_t>()) : ""};
    for (const std::string& network : networks) {
      row.push_back(PlusMinus(Member(accuracy, network)));
    }
    table.Add(std::move(row));
  };
  const auto per_class = Member(report, "images_per_class");
  const auto baselines = Member(report, "baselines");
  const std::pair<const char*, const char*> kBaselines[] = {
      {"random", "random real images"},
      {"tiles", "random tiles, undistilled"},
      {"start", "own start, undistilled"}};
  for (const auto& [key, title] : kBaselines) {
    const auto baseline = Member(baselines, key);
    if (!baseline.is_null()) {
      add(title, per_class, Member(baseline, "accuracy"));
    }
  }
  for (const auto& prefix : Member(report, "prefixes")) {
    const auto images = Member(prefix, "images_per_class");
    if (images == per_class) continue;
    add("first segments", images, Member(prefix, "accuracy"));
  }
  const auto method = Member(report, "method");
  add(method.is_string() ? method.get<std::string>() : "synthetic", per_class,
      report["accuracy"]);
  return table.ToString();
}

}  // namespace dasm
