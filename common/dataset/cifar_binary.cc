#include "common/dataset/cifar_binary.h"

#include <functional>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"

namespace dasm {
namespace {

constexpr int64_t kCifarPixels = 3 * 32 * 32;

// Calls `record(label, pixels)` for each.
absl::Status ForEachRecord(
    const std::string& path, int label_bytes,
    const std::function<void(uint8_t, const uint8_t*)>& record) {
  FileSystem* fs = LocalFileSystem();
  const int64_t bytes = kCifarPixels + label_bytes;
  auto size = fs->Size(path);
  if (!size.ok()) return DataError(path, size.status().message());
  if (*size == 0 || *size % bytes != 0) {
    return DataError(
        path,
        absl::StrFormat("truncated or of another format: %d bytes are no "
                        "multiple of a record of %d (%d label bytes); fetch "
                        "the file again or set label_bytes",
                        *size, bytes, label_bytes));
  }
  std::vector<uint8_t> pending;
  int64_t seen = 0;
  absl::Status status = fs->ReadChunks(path, 0, [&](std::string_view chunk) {
    pending.insert(pending.end(), chunk.begin(), chunk.end());
    size_t at = 0;
    for (; at + bytes <= pending.size(); at += bytes, ++seen) {
      record(pending[at + label_bytes - 1], pending.data() + at + label_bytes);
    }
    pending.erase(pending.begin(), pending.begin() + at);
    return absl::OkStatus();
  });
  if (!status.ok()) return DataError(path, status.message());
  if (seen * bytes != *size || !pending.empty()) {
    return DataError(path, "changed while it was read");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LabelCounts> CountCifarLabels(const std::string& path,
                                             int label_bytes) {
  LabelCounts counts = {};
  DASM_RETURN_IF_ERROR(
      ForEachRecord(path, label_bytes,
                    [&](uint8_t label, const uint8_t*) { ++counts[label]; }));
  return counts;
}

absl::Status AppendCifarBinary(const std::string& path, int label_bytes,
                               ImageSet* set) {
  set->channels = 3;
  set->height = 32;
  set->width = 32;
  return ForEachRecord(
      path, label_bytes, [&](uint8_t label, const uint8_t* pixels) {
        set->images.insert(set->images.end(), pixels, pixels + kCifarPixels);
        set->labels.push_back(label);
        ++set->count;
      });
}

}  // namespace dasm
