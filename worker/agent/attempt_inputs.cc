#include "worker/agent/attempt_inputs.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "google/protobuf/util/json_util.h"

namespace dasm {
namespace {

// A match has a hundred experts, and one stream fills neither the line nor the
// disk.
constexpr int kAtOnce = 4;

}  // namespace

absl::Status FetchInputs(const worker::v1::Assignment& assignment,
                         BlobCache* cache, const RepeatCall& repeat,
                         worker::v1::TaskFile* file,
                         std::vector<BlobCache::Pin>* pins) {
  absl::Mutex mutex;  // guards all that the threads share
  int next = 0;
  absl::Status failure;
  const auto fetch = [&](const worker::v1::TaskInput& input) -> absl::Status {
    DASM_ASSIGN_OR_RETURN(BlobCache::Pin pin,
                          cache->Acquire(input.digest(), input.size_bytes()));
    absl::MutexLock lock(&mutex);
    (*file->mutable_inputs())[input.input()] = pin.path();
    pins->push_back(std::move(pin));
    return absl::OkStatus();
  };
  const auto work = [&] {
    for (;;) {
      int index = 0;
      {
        absl::MutexLock lock(&mutex);
        if (next == assignment.inputs_size() || !failure.ok()) return;
        index = next++;
      }
      const worker::v1::TaskInput& input = assignment.inputs(index);
      const absl::Status fetched = repeat([&] { return fetch(input); });
      absl::MutexLock lock(&mutex);
      if (!fetched.ok() && failure.ok()) {
        failure = WithContext(fetched, absl::StrCat("input ", input.input()));
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < std::min(kAtOnce, assignment.inputs_size()); ++i) {
    helpers.emplace_back(work);
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  return failure;
}

absl::Status WriteTaskFile(const worker::v1::TaskFile& file,
                           const std::string& directory, FileSystem* fs) {
  std::string json;
  google::protobuf::util::JsonPrintOptions format;
  format.add_whitespace = true;
  format.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(file, &json, format).ok()) {
    return absl::InternalError("the assignment is not valid UTF-8");
  }
  const auto write = [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(
        const auto writer,
        fs->Create(absl::StrCat(directory, "/task.json"), 0600));
    DASM_RETURN_IF_ERROR(writer->Append(json));
    return writer->Commit();
  };
  const absl::Status written = write();
  return written.ok() ? written
                      : WithFailureClass(written, FailureClass::kStorage);
}

}  // namespace dasm
