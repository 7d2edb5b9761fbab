// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/torch_writer.h"

#include <zip.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>

#include "core/error_format.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

constexpr std::string_view kFormatVersion = "3\n";

// One entry while libzip reads it.
struct Stream {
  TorchStorage storage;
  uint64_t position = 0;
};

zip_int64_t read_stream(Stream& stream, void* data, zip_uint64_t length) {
  const uint64_t count = std::min<uint64_t>(length, stream.storage.bytes - stream.position);
  stream.storage.fill(stream.position, {static_cast<std::byte*>(data), count});
  stream.position += count;
  return static_cast<zip_int64_t>(count);
}

zip_int64_t describe_stream(const Stream& stream, void* data) {
  auto* status = static_cast<zip_stat_t*>(data);
  zip_stat_init(status);
  status->size = stream.storage.bytes;
  status->valid = ZIP_STAT_SIZE;
  return sizeof(zip_stat_t);
}

// libzip's view of a Stream (zip_source_function).
zip_int64_t serve(void* user, void* data, zip_uint64_t length, zip_source_cmd_t command) {
  auto& stream = *static_cast<Stream*>(user);
  switch (command) {
    case ZIP_SOURCE_OPEN:
      stream.position = 0;
      return 0;
    case ZIP_SOURCE_READ:
      return read_stream(stream, data, length);
    case ZIP_SOURCE_STAT:
      return describe_stream(stream, data);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
      return 0;
    case ZIP_SOURCE_ERROR:
      return static_cast<zip_int64_t>(2 * sizeof(int));
    case ZIP_SOURCE_SUPPORTS:
      return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_STAT,
                                            ZIP_SOURCE_CLOSE, ZIP_SOURCE_FREE, ZIP_SOURCE_ERROR,
                                            -1);
    default:
      return -1;
  }
}

class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path) : path_(path) {
    int code = 0;
    archive_.reset(zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code));
    if (archive_ == nullptr) refuse(fmt::format("libzip error {}", code));
  }

  void add(const std::string& name, TorchStorage storage) {
    streams_.push_back({std::move(storage), 0});
    zip_source_t* source = zip_source_function(archive_.get(), serve, &streams_.back());
    if (source == nullptr) refuse(zip_strerror(archive_.get()));
    const zip_int64_t index = zip_file_add(archive_.get(), name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      refuse(zip_strerror(archive_.get()));
    }
    zip_set_file_compression(archive_.get(), static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0);
  }

  void add_text(const std::string& name, std::string text) {
    const uint64_t bytes = text.size();
    add(name, {"", bytes, [text = std::move(text)](uint64_t offset, std::span<std::byte> out) {
                 std::memcpy(out.data(), text.data() + offset, out.size());
               }});
  }

  // libzip writes a temporary file and renames it.
  void finish() {
    if (zip_close(archive_.get()) != 0) refuse(zip_strerror(archive_.get()));
    static_cast<void>(archive_.release());  // zip_close() freed it
  }

 private:
  struct Discard {
    void operator()(zip_t* archive) const { zip_discard(archive); }
  };

  [[noreturn]] void refuse(std::string_view reason) const {
    fail(ErrorCode::kIo, "torch writer: cannot write {}: {}; check the folder and its free space",
         shown(path_), reason);
  }

  std::filesystem::path path_;
  std::deque<Stream> streams_;  // must not move: libzip holds pointers
  std::unique_ptr<zip_t, Discard> archive_;
};

}  // namespace

void write_torch_file(const std::filesystem::path& path, const std::string& folder,
                      const std::string& pickle, std::vector<TorchStorage> storages) {
  ZipWriter writer(path);
  writer.add_text(folder + "/data.pkl", pickle);
  for (TorchStorage& storage : storages) {
    const std::string name = folder + "/data/" + storage.key;
    writer.add(name, std::move(storage));
  }
  writer.add_text(folder + "/version", std::string(kFormatVersion));
  writer.finish();
}

}  // namespace nextscale
