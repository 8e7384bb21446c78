// libFuzzer: no input may crash the safetensors reader, and every byte that a
// view promises must be there.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/artifact/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = dasm::SafetensorsFile::Parse(
      std::string(reinterpret_cast<const char*>(data), size));
  if (!file.ok()) return 0;
  uint64_t sum = 0;
  for (const auto& [name, view] : (*file)->tensors()) {
    const auto* bytes = static_cast<const uint8_t*>(view.data);
    for (int64_t i = 0; i < view.size_bytes(); ++i) sum += bytes[i];
  }
  // What was accepted can be written and is accepted again.
  const std::string again =
      dasm::SerializeSafetensors((*file)->tensors(), (*file)->metadata());
  if (!dasm::SafetensorsFile::Parse(again).ok()) std::abort();
  volatile uint64_t kept = sum;
  (void)kept;
  return 0;
}
