// Reader and writer of the safetensors format: named tensors, little endian, C
// order. Input is treated as hostile: every offset, size and name is checked.
// Torch-free: the engine wraps the bytes in tensors.
#ifndef DASM_COMMON_ARTIFACT_SAFETENSORS_H_
#define DASM_COMMON_ARTIFACT_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dasm {

enum class DType { kU8, kI32, kI64, kF32, kF64 };
// Bytes of an element.
int64_t SizeOf(DType dtype);

// Borrows the bytes.
struct TensorView {
  DType dtype;
  std::vector<int64_t> shape;
  const void* data;
  int64_t elements() const;
  int64_t size_bytes() const { return elements() * SizeOf(dtype); }
};

// A file mapped read-only; views live as long as it does and their data is
// aligned to their element size. The file must not shrink meanwhile (blobs are
// 0444 and replaced by renaming).
class SafetensorsFile {
 public:
  // INVALID_ARGUMENT (with the path) for anything malformed: header length,
  // JSON, duplicate key, unknown dtype, overlap, hole, shape that does not
  // match its bytes, misaligned data. NOT_FOUND and the like as from a
  // FileSystem.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(
      const std::string& path);
  // The same over bytes in memory (copied).
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Parse(
      std::string bytes);
  ~SafetensorsFile();

  const std::map<std::string, TensorView>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;
  // NOT_FOUND naming tensor and file; INVALID_ARGUMENT on another dtype or
  // number of dimensions.
  absl::StatusOr<TensorView> Get(const std::string& name, DType dtype,
                                 int dimensions) const;

 private:
  struct State;
  explicit SafetensorsFile(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

// Byte-stable: the same tensors and metadata give the same bytes, whatever the
// machine (tensors by descending alignment, then name; keys sorted). Written
// atomically and synced.
//   INVALID_ARGUMENT  a name or value that is not UTF-8, or a tensor named
//                     "__metadata__"
absl::Status WriteSafetensors(
    const std::string& path, const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata = {});
// The same file for tensors that are too large to be held: shapes first, then
// their bytes in any order.
//
// Errors: as WriteSafetensors and FileSystem. Threads: used by one.
class SafetensorsWriter {
 public:
  // `tensors` without data.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, const std::map<std::string, TensorView>& tensors,
      const std::map<std::string, std::string>& metadata = {});
  // The file is gone unless committed.
  ~SafetensorsWriter();

  // Bytes [offset, offset + bytes.size()) of a tensor; each byte once.
  absl::Status Write(const std::string& name, int64_t offset,
                     std::string_view bytes);
  // A tensor as it is so far, mapped: what is not written yet is zero. Lives as
  // long as this object.
  absl::StatusOr<TensorView> View(const std::string& name);
  // Synced and renamed to the path, once. INTERNAL when bytes are missing.
  absl::Status Commit();

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);

  const std::unique_ptr<State> state_;
};

// The same bytes; names and values must be fit for WriteSafetensors.
std::string SerializeSafetensors(
    const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata = {});

}  // namespace dasm

#endif  // DASM_COMMON_ARTIFACT_SAFETENSORS_H_
