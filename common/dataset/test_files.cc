#include "common/dataset/test_files.h"

#include <matio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/random_stream.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;

template <typename T>
void Put(T value, std::string* out) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

std::string Deflate(std::string_view bytes, int window_bits) {
  z_stream stream = {};
  if (deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  std::string out(deflateBound(&stream, bytes.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

TestFolder::TestFolder() {
  std::string name =
      (fs::temp_directory_path() / "dasm-dataset-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = fs::canonical(name).string();
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TestFolder::At(std::string_view name) const {
  return (fs::path(path_) / name).string();
}

std::string TestFolder::Write(std::string_view name,
                              std::string_view bytes) const {
  const std::string path = At(name);
  fs::create_directories(fs::path(path).parent_path());
  // Truncating instead would make some file systems flush at every close.
  fs::remove(path);
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) throw std::runtime_error(path);
  return path;
}

std::string Gzip(std::string_view bytes) {
  return Deflate(bytes, MAX_WBITS + 16);
}

std::string Idx(const std::vector<int>& shape, std::string_view values) {
  std::string out = {0, 0, 8, static_cast<char>(shape.size())};
  for (int side : shape) {
    for (int shift : {24, 16, 8, 0})
      out.push_back(static_cast<char>(side >> shift));
  }
  return out.append(values);
}

std::string IdxImages(int count, int side) {
  std::string pixels;
  for (int i = 0; i < count * side * side; ++i) {
    pixels.push_back(static_cast<char>(i * 37 % 251));
  }
  return Idx({count, side, side}, pixels);
}

std::string IdxLabels(int count, int classes) {
  std::string labels;
  for (int i = 0; i < count; ++i)
    labels.push_back(static_cast<char>(i % classes));
  return Idx({count}, labels);
}

void WriteIdxDataset(const TestFolder& root, std::string_view folder, int count,
                     int side, int classes, bool gzip) {
  const auto write = [&](const char* name, const std::string& bytes) {
    const std::string path = std::string(folder) + "/" + name;
    root.Write(gzip ? path + ".gz" : path, gzip ? Gzip(bytes) : bytes);
  };
  write("train-images-idx3-ubyte", IdxImages(count, side));
  write("train-labels-idx1-ubyte", IdxLabels(count, classes));
  write("t10k-images-idx3-ubyte", IdxImages(count / 2, side));
  write("t10k-labels-idx1-ubyte", IdxLabels(count / 2, classes));
}

std::string CifarRecords(int count, int classes, int label_bytes) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    if (label_bytes == 2) out.push_back(99);
    out.push_back(static_cast<char>(i % classes));
    for (int p = 0; p < 3072; ++p) {
      out.push_back(static_cast<char>((i * 11 + p) % 256));
    }
  }
  return out;
}

void WriteSvhnMat(const std::string& path, const std::vector<double>& labels) {
  const size_t count = labels.size();
  std::vector<uint8_t> pixels;
  for (size_t n = 0; n < count; ++n) {
    for (int c = 0; c < 3; ++c) {
      for (int x = 0; x < 32; ++x) {
        for (int y = 0; y < 32; ++y) {
          pixels.push_back(
              static_cast<uint8_t>((n + 7 * c + 3 * y + 5 * x) % 256));
        }
      }
    }
  }
  mat_t* mat = Mat_CreateVer(path.c_str(), nullptr, MAT_FT_MAT5);
  if (mat == nullptr) throw std::runtime_error(path);
  size_t x_dims[4] = {32, 32, 3, count};
  size_t y_dims[2] = {count, 1};
  matvar_t* x =
      Mat_VarCreate("X", MAT_C_UINT8, MAT_T_UINT8, 4, x_dims, pixels.data(), 0);
  matvar_t* y = Mat_VarCreate("y", MAT_C_DOUBLE, MAT_T_DOUBLE, 2, y_dims,
                              const_cast<double*>(labels.data()), 0);
  Mat_VarWrite(mat, x, MAT_COMPRESSION_ZLIB);
  Mat_VarWrite(mat, y, MAT_COMPRESSION_ZLIB);
  Mat_VarFree(x);
  Mat_VarFree(y);
  Mat_Close(mat);
}

std::string Npy(std::string_view descr, const std::vector<int64_t>& shape,
                std::string_view data, std::string_view order) {
  std::string dict =
      absl::StrFormat("{'descr': '%s', 'fortran_order': %s, 'shape': (%s%s), }",
                      std::string(descr), std::string(order),
                      absl::StrJoin(shape, ", "), shape.size() == 1 ? "," : "");
  while ((10 + dict.size() + 1) % 64 != 0) dict.push_back(' ');
  dict.push_back('\n');
  std::string out = "\x93NUMPY";
  out.push_back(1);
  out.push_back(0);
  Put<uint16_t>(static_cast<uint16_t>(dict.size()), &out);
  return out.append(dict).append(data);
}

std::string NpyF4(const std::vector<int64_t>& shape,
                  const std::vector<float>& values) {
  return Npy("<f4", shape,
             std::string_view(reinterpret_cast<const char*>(values.data()),
                              values.size() * sizeof(float)));
}

std::string NpyI8(const std::vector<int64_t>& values) {
  return Npy("<i8", {static_cast<int64_t>(values.size())},
             std::string_view(reinterpret_cast<const char*>(values.data()),
                              values.size() * sizeof(int64_t)));
}

std::string Npz(const std::map<std::string, std::string>& members,
                bool deflate) {
  std::string out;
  std::string directory;
  for (const auto& [name, bytes] : members) {
    const std::string file = name + ".npy";
    const std::string data = deflate ? Deflate(bytes, -MAX_WBITS) : bytes;
    std::string common;
    Put<uint16_t>(20, &common);
    Put<uint16_t>(0, &common);
    Put<uint16_t>(deflate ? 8 : 0, &common);
    Put<uint32_t>(0, &common);
    Put<uint32_t>(
        static_cast<uint32_t>(crc32_z(
            0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size())),
        &common);
    Put<uint32_t>(static_cast<uint32_t>(data.size()), &common);
    Put<uint32_t>(static_cast<uint32_t>(bytes.size()), &common);
    Put<uint16_t>(static_cast<uint16_t>(file.size()), &common);
    Put<uint16_t>(0, &common);

    Put<uint32_t>(0x02014b50, &directory);
    Put<uint16_t>(20, &directory);
    directory.append(common).append(10, '\0');
    Put<uint32_t>(static_cast<uint32_t>(out.size()), &directory);
    directory.append(file);

    Put<uint32_t>(0x04034b50, &out);
    out.append(common).append(file).append(data);
  }
  const auto start = static_cast<uint32_t>(out.size());
  out.append(directory);
  Put<uint32_t>(0x06054b50, &out);
  Put<uint32_t>(0, &out);
  Put<uint16_t>(static_cast<uint16_t>(members.size()), &out);
  Put<uint16_t>(static_cast<uint16_t>(members.size()), &out);
  Put<uint32_t>(static_cast<uint32_t>(directory.size()), &out);
  Put<uint32_t>(start, &out);
  Put<uint16_t>(0, &out);
  return out;
}

std::string Mutated(std::string_view bytes, uint64_t seed) {
  RandomSequence random = RandomStream(seed, "mutation").At();
  std::string out(bytes);
  const uint32_t changes = 1 + random.Below(4);
  for (uint32_t i = 0; i < changes && !out.empty(); ++i) {
    const uint32_t at = random.Below(static_cast<uint32_t>(out.size()));
    switch (random.Below(5)) {
      case 0:
        out[at] = static_cast<char>(out[at] ^ (1 << random.Below(8)));
        break;
      case 1:
        out[at] = static_cast<char>(random.Below(256));
        break;
      case 2:
        out[at] = static_cast<char>(random.Below(2) == 0 ? 0 : 0xff);
        break;
      case 3:
        out.resize(at);
        break;
      case 4:
        out.insert(at, out.substr(at, random.Below(64)));
        break;
    }
  }
  return out;
}

}  // namespace dasm
