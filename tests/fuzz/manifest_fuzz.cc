// libFuzzer: no manifest.json may crash its verification and no report.json its
// table.
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

#include "client/command/report_text.h"
#include "client/command/result_files.h"
#include "common/base/temporary_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto folder = *dasm::TemporaryDirectory::Create();
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::ofstream(folder->path() + "/manifest.json", std::ios::binary) << text;
  (void)dasm::VerifyDirectory(folder->path());
  (void)dasm::ReportText(text);
  return 0;
}
