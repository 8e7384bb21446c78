// dasmctl download and verify: a finished job's files.
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/command/commands.h"
#include "client/command/exit_code.h"
#include "client/command/report_text.h"
#include "client/command/result_files.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

absl::StatusOr<int> Download(Context* context, const std::string& job,
                             const std::string& directory) {
  DASM_RETURN_IF_ERROR(DownloadResult(context, job, directory));
  DASM_RETURN_IF_ERROR(VerifyDirectory(directory));
  DASM_ASSIGN_OR_RETURN(
      const std::string report,
      LocalFileSystem()->Read(absl::StrCat(directory, "/report.json")));
  DASM_ASSIGN_OR_RETURN(const std::string text, ReportText(report));
  *context->out << text;
  *context->talk << "downloaded and verified: " << directory << "\n";
  return kExitOk;
}

// Re-hashes what the server holds by reading every byte of it back.
absl::Status VerifyJob(Context* context, const std::string& job) {
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  v1::GetJobReportRequest request;
  request.set_name(job);
  DASM_ASSIGN_OR_RETURN(const v1::JobReport report,
                        Call(*context, stubs->jobs.get(),
                             &v1::JobService::Stub::GetJobReport, request));
  for (const v1::OutputBlob& file : report.files()) {
    v1::ReadBlobRequest read;
    read.set_digest(file.digest());
    grpc::ClientContext call;
    auto stream = stubs->artifacts->ReadBlob(&call, read);
    Hasher hasher;
    v1::BlobChunk chunk;
    while (stream->Read(&chunk)) hasher.Update(chunk.data());
    DASM_RETURN_IF_ERROR(
        WithContext(FromServer(*context, stream->Finish()), file.output()));
    const Hasher::Result result = hasher.Finish();
    if (result.digest != file.digest()) {
      return absl::DataLossError(absl::StrCat(file.output(), ": received ",
                                              result.digest, ", not ",
                                              file.digest()));
    }
    *context->out << "ok  " << file.output() << "  " << file.digest() << "  "
                  << HumanBytes(file.size_bytes()) << "\n";
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Verify(Context* context, const std::string& what) {
  if (LocalFileSystem()->Exists(absl::StrCat(what, "/manifest.json"))) {
    DASM_RETURN_IF_ERROR(VerifyDirectory(what));
    *context->out << "ok  " << what << "\n";
  } else {
    DASM_RETURN_IF_ERROR(VerifyJob(context, what));
  }
  return kExitOk;
}

}  // namespace

void AddDownload(CLI::App* app, Context* context) {
  auto job = std::make_shared<std::string>();
  auto directory = std::make_shared<std::string>();
  CLI::App* verb = app->add_subcommand(
      "download", "Fetch a finished job's set, picture, manifest and report");
  verb->footer("Example: dasmctl download jobs/j0123456789 --output out");
  verb->add_option("job", *job, "Job, e.g. jobs/j0123456789")->required();
  verb->add_option("--output", *directory, "Folder; made if missing")
      ->required()
      ->type_name("DIR");
  context->Bind(verb, [=] { return Download(context, *job, *directory); });
}

void AddVerify(CLI::App* app, Context* context) {
  auto what = std::make_shared<std::string>();
  CLI::App* verb = app->add_subcommand(
      "verify", "Re-hash a job's files on the server, or a downloaded folder");
  verb->footer("Example: dasmctl verify out");
  verb->add_option("job_or_folder", *what, "Job or folder")->required();
  context->Bind(verb, [=] { return Verify(context, *what); });
}

}  // namespace dasm
