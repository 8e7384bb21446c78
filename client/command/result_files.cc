#include "client/command/result_files.h"

#include <map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/command/json_member.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "common/rpc/blob_transfer.h"
#include "common/spec/task_parameters.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

// Outputs of a job that a user gets, and their names on disk.
const std::map<std::string, std::string>& FileNames() {
  static const auto* names = new std::map<std::string, std::string>{
      {"synthetic", "synthetic.safetensors"}, {"grid", "grid.png"}};
  return *names;
}

// What a job that matched trajectories has beside its set, by file name: the
// curves of each segment, the ranges that were found, and the set of an earlier
// iteration where the report says that it was chosen. Digests.
std::map<std::string, nlohmann::json> MoreFiles(const nlohmann::json& manifest,
                                                const nlohmann::json& report) {
  std::map<std::string, nlohmann::json> files;
  const auto chosen = Member(report, "snapshot");
  for (const auto& task : Member(manifest, "tasks")) {
    const auto kind = Member(task, "kind");
    const auto outputs = Member(task, "outputs");
    const auto add = [&](const std::string& output, const std::string& file) {
      const auto digest = Member(Member(outputs, output), "digest");
      if (digest.is_string()) files[file] = digest;
    };
    if (kind == MatchTrajectoriesParameters::kKind) {
      const auto segment = Member(Member(task, "parameters"), "segment");
      const int64_t number =
          segment.is_number_integer() ? segment.get<int64_t>() : 0;
      add("curves", absl::StrCat("curves-", number + 1, ".safetensors"));
      const auto iteration = Member(chosen, "iteration");
      if (!iteration.is_number_integer()) continue;
      const std::string snapshot =
          absl::StrCat("snapshot.", iteration.get<int64_t>());
      if (Member(Member(outputs, snapshot), "digest") ==
          Member(chosen, "digest")) {
        add(snapshot, absl::StrCat("snapshot-", iteration.get<int64_t>(),
                                   ".safetensors"));
      }
    } else if (kind == FindRangeParameters::kKind) {
      // "range", of a later segment "range-K".
      const auto id = Member(task, "id");
      int number = 1;
      if (id.is_string() && id != "range" &&
          !absl::SimpleAtoi(
              absl::StripPrefix(id.get_ref<const std::string&>(), "range-"),
              &number)) {
        continue;
      }
      add("range", absl::StrCat("range-", number, ".safetensors"));
    }
  }
  return files;
}

nlohmann::json Parse(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
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
  for (const auto& [name, digest] :
       MoreFiles(Parse(report.manifest_json()), Parse(report.report_json()))) {
    DASM_RETURN_IF_ERROR(WithContext(
        DownloadBlob(stubs->artifacts.get(), digest.get<std::string>(), fs,
                     absl::StrCat(directory, "/", name)),
        name));
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
  const nlohmann::json manifest = Parse(text);
  if (!manifest.is_object() || !manifest.contains("files") ||
      !manifest["files"].is_object()) {
    return absl::DataLossError(
        absl::StrCat(path, " is not a manifest: download the job again"));
  }
  // report.json is not among what is verified; without it no set was chosen.
  const auto report =
      fs->Read(absl::StrCat(directory, "/report.json")).value_or("");
  std::map<std::string, nlohmann::json> expected =
      MoreFiles(manifest, Parse(report));
  for (const auto& [output, file] : manifest["files"].items()) {
    const auto name = FileNames().find(output);
    if (name != FileNames().end()) {
      expected[name->second] = Member(file, "digest");
    }
  }
  std::vector<std::string> bad;
  for (const auto& [name, digest] : expected) {
    const auto hashed = HashFile(fs, absl::StrCat(directory, "/", name));
    if (!hashed.ok()) {
      bad.push_back(absl::StrCat(name, " (", hashed.status().message(), ")"));
    } else if (digest != hashed->digest) {
      bad.push_back(absl::StrCat(name, " (is ", hashed->digest, ")"));
    }
  }
  if (bad.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      directory, ": not what the manifest says: ", absl::StrJoin(bad, ", "),
      "; download the job again"));
}

}  // namespace dasm
