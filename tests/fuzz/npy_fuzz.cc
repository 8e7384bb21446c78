// libFuzzer: no bytes may crash the readers of .npy arrays and .npz archives,
// and what a header promises is there.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/dataset/npy.h"

namespace {

void ReadArray(std::string_view bytes) {
  const auto header =
      dasm::ParseNpyHeader(bytes, static_cast<int64_t>(bytes.size()), "array");
  if (!header.ok()) return;
  const auto floats = dasm::NpyFloats(*header, bytes, "array");
  const auto integers = dasm::NpyIntegers(*header, bytes, "array");
  const auto elements = static_cast<size_t>(header->elements);
  if ((floats.ok() && floats->size() != elements) ||
      (integers.ok() && integers->size() != elements) ||
      (floats.ok() && integers.ok())) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ReadArray(bytes);
  const auto members = dasm::ReadNpz(bytes, "archive", /*only_heads=*/true);
  if (!members.ok()) return 0;
  for (const auto& [name, member] : *members) ReadArray(member.bytes);
  return 0;
}
