// SHA-256 digests: "sha256:" and 64 lower-case hex digits.
#ifndef DASM_COMMON_ARTIFACT_DIGEST_H_
#define DASM_COMMON_ARTIFACT_DIGEST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/file_system.h"

namespace dasm {

inline constexpr int64_t kChunkBytes = int64_t{8} << 20;

// Of `data`.
std::string Sha256(std::string_view data);
bool IsDigest(std::string_view text);

// Digest of a stream, and of each 8 MiB chunk of it unless `chunks` is false
// (which halves the cost of large streams).
class Hasher {
 public:
  explicit Hasher(bool chunks = true);
  ~Hasher();
  void Update(std::string_view data);
  struct Result {
    std::string digest;
    int64_t size_bytes = 0;
    std::vector<std::string> chunk_digests;
  };
  // Once only.
  Result Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

absl::StatusOr<Hasher::Result> HashFile(FileSystem* fs,
                                        const std::string& path);

}  // namespace dasm

#endif  // DASM_COMMON_ARTIFACT_DIGEST_H_
