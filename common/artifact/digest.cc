#include "common/artifact/digest.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "openssl/evp.h"

namespace dasm {
namespace {

constexpr std::string_view kPrefix = "sha256:";

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

Context NewContext() {
  Context context(EVP_MD_CTX_new());
  DASM_CHECK(context != nullptr);
  return context;
}

void Restart(EVP_MD_CTX* context) {
  DASM_CHECK(EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1);
}

std::string Finish(EVP_MD_CTX* context) {
  constexpr char kHex[] = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned int size = 0;
  DASM_CHECK(EVP_DigestFinal_ex(context, bytes.data(), &size) == 1);
  std::string text(kPrefix);
  for (unsigned int i = 0; i < size; ++i) {
    text.push_back(kHex[bytes[i] >> 4]);
    text.push_back(kHex[bytes[i] & 15]);
  }
  return text;
}

}  // namespace

std::string Sha256(std::string_view data) {
  Hasher hasher(/*chunks=*/false);
  hasher.Update(data);
  return hasher.Finish().digest;
}

bool IsDigest(std::string_view text) {
  if (text.size() != kPrefix.size() + 64) return false;
  if (text.substr(0, kPrefix.size()) != kPrefix) return false;
  text.remove_prefix(kPrefix.size());
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

struct Hasher::State {
  bool chunks = true;
  Context whole = NewContext();
  // Of the current chunk. The first one shares its bytes with the whole, so
  // that small streams are hashed once.
  Context chunk = NewContext();
  Result result;

  void FinishChunk() {
    if (result.chunk_digests.empty()) {
      DASM_CHECK(EVP_MD_CTX_copy_ex(chunk.get(), whole.get()) == 1);
    }
    result.chunk_digests.push_back(dasm::Finish(chunk.get()));
    Restart(chunk.get());
  }
};

Hasher::Hasher(bool chunks) : state_(std::make_unique<State>()) {
  state_->chunks = chunks;
  Restart(state_->whole.get());
}

Hasher::~Hasher() = default;

void Hasher::Update(std::string_view data) {
  State& state = *state_;
  while (!data.empty()) {
    std::string_view part = data;
    if (state.chunks) {
      part =
          part.substr(0, kChunkBytes - state.result.size_bytes % kChunkBytes);
      if (!state.result.chunk_digests.empty()) {
        DASM_CHECK(
            EVP_DigestUpdate(state.chunk.get(), part.data(), part.size()) == 1);
      }
    }
    DASM_CHECK(EVP_DigestUpdate(state.whole.get(), part.data(), part.size()) ==
               1);
    state.result.size_bytes += part.size();
    data.remove_prefix(part.size());
    if (state.chunks && state.result.size_bytes % kChunkBytes == 0) {
      state.FinishChunk();
    }
  }
}

Hasher::Result Hasher::Finish() {
  State& state = *state_;
  if (state.chunks && state.result.size_bytes % kChunkBytes != 0) {
    state.FinishChunk();
  }
  state.result.digest = dasm::Finish(state.whole.get());
  return std::move(state.result);
}

absl::StatusOr<Hasher::Result> HashFile(FileSystem* fs,
                                        const std::string& path) {
  Hasher hasher;
  DASM_RETURN_IF_ERROR(fs->ReadChunks(path, 0, [&](std::string_view chunk) {
    hasher.Update(chunk);
    return absl::OkStatus();
  }));
  return hasher.Finish();
}

}  // namespace dasm
