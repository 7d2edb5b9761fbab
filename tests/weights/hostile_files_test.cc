// SPDX-License-Identifier: Apache-2.0
// Files that are hostile or merely wrong: each must be answered with one sentence and the right
// code.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/error_format.h"
#include "tests/weights/made_files.h"
#include "tests/weights/temporary_folder.h"
#include "weights/checkpoint.h"

namespace nextscale {
namespace {

constexpr int64_t kHuge = int64_t{1} << 40;

void read_all(Checkpoint& checkpoint) {
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    std::vector<std::byte> bytes(tensor.num_bytes());
    checkpoint.read(tensor.name, bytes);
  }
}

struct Case {
  const char* name;
  std::function<std::string()> bytes;
  ErrorCode code;
  const char* says;
};

void PrintTo(const Case& hostile, std::ostream* out) { *out << hostile.name; }

std::string header_case(std::string_view dtype, std::string_view shape, std::string_view offsets,
                        size_t data = 16) {
  return made_safetensors(one_tensor_header(dtype, shape, offsets), data);
}

std::string torch_tensor(int64_t elements, int64_t offset, const std::vector<int64_t>& sizes,
                         const std::vector<int64_t>& strides) {
  return made_torch(one_tensor_pickle(elements, offset, sizes, strides));
}

std::string pickle_case(const std::string& instructions) {
  return made_torch(std::string("\x80\x02") + instructions);
}

std::string repeated(std::string_view text, size_t count) {
  std::string result;
  for (size_t index = 0; index < count; ++index) result += text;
  return result;
}

std::string changed_entry(std::string_view entry, size_t offset, std::string_view bytes) {
  std::string zip = torch_tensor(4, 0, {4}, {1});
  change_directory(zip, entry, offset, bytes);
  return zip;
}

// {"k": {"k": {... the same dictionary twice at every level: 2^30 paths from 200 bytes.
std::string doubling_dictionaries() {
  PickleWriter pickle;
  pickle.empty_dict().raw(std::string_view("q\x00", 2));
  for (char level = 1; level < 30; ++level) {
    const std::string recall = std::string("h") + static_cast<char>(level - 1);
    pickle.empty_dict().mark().text("a").raw(recall).text("b").raw(recall).set_items().raw(
        std::string("q") + level);
  }
  return pickle.finish();
}

std::string damaged_storage() {
  std::string zip = torch_tensor(4, 0, {4}, {1});
  zip[zip.find("m/data/0") + 10] ^= 1;
  return zip;
}

std::string nine_dimensions() {
  const std::vector<int64_t> ones(9, 1);
  return torch_tensor(4, 0, ones, ones);
}

std::string twice_the_same_tensor() {
  const std::vector<int64_t> four{4};
  const std::vector<int64_t> one{1};
  const PickleWriter::Window window{.storage_elements = 4, .sizes = four, .strides = one};
  return made_torch(PickleWriter()
                        .empty_dict()
                        .mark()
                        .text("w")
                        .tensor(window)
                        .text("w")
                        .tensor(window)
                        .set_items()
                        .finish());
}

std::string rebuild_of_itself() {
  constexpr std::string_view kModule = "torch._tensor";
  constexpr std::string_view kName = "_rebuild_from_type_v2";
  return made_torch(PickleWriter()
                        .global(kModule, kName)
                        .mark()
                        .global(kModule, kName)
                        .global("torch", "Tensor")
                        .raw(")}")
                        .tuple()
                        .reduce()
                        .finish());
}

std::string index_of_shards(std::string_view file) {
  return fmt::format(R"({{"metadata":{{}},"weight_map":{{"a":"{}"}}}})", file);
}

const std::vector<Case>& cases() {
  using enum ErrorCode;
  static const std::vector<Case> kCases{
      // Not a checkpoint at all.
      {"empty", [] { return std::string(); }, kBadFile, "is empty"},
      {"text", [] { return std::string("hello, this is no model\n"); }, kBadFile,
       "neither safetensors nor a torch file"},
      {"lfs_pointer",
       [] { return std::string("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"); },
       kBadFile, "git lfs pull"},
      {"legacy_pickle", [] { return std::string("\x80\x02\x8a\nl\xfc\x9c", 7); }, kUnsupported,
       "before PyTorch 1.6"},
      {"png", [] { return std::string("\x89PNG\r\n\x1a\n...."); }, kBadFile,
       "neither safetensors nor a torch file"},
      // safetensors
      {"header_truncated", [] { return header_case("F32", "[4]", "[0,16]").substr(0, 40); },
       kBadFile, "truncated inside its header"},
      {"header_huge", [] { return std::string("\x00\x00\x00\x10\x00\x00\x00\x00{", 9); }, kBadFile,
       "claims a header of 268435456 bytes"},
      {"data_truncated", [] { return header_case("F32", "[4]", "[0,16]", 15); }, kBadFile,
       "claims bytes 0 to 16 of 15"},
      {"json_broken", [] { return made_safetensors("{\"a\":", 0); }, kBadFile, "is not valid JSON"},
      {"json_nan", [] { return header_case("F32", "[NaN]", "[0,16]"); }, kBadFile,
       "is not valid JSON"},
      {"json_bad_utf8", [] { return made_safetensors("{\"\xff\":{}}", 0); }, kBadFile,
       "is not valid JSON"},
      {"json_trailing", [] { return made_safetensors("{} {}", 0); }, kBadFile, "is not valid JSON"},
      {"tensor_twice",
       [] {
         const std::string tensor = R"("a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
         return made_safetensors(std::string("{") + tensor + "," + tensor + "}", 0);
       },
       kBadFile, "has the tensor 'a' twice"},
      {"key_twice", [] { return made_safetensors(R"({"a":{"dtype":"F32","dtype":"F32"}})", 0); },
       kBadFile, "has the key 'dtype' twice"},
      {"objects_nested", [] { return made_safetensors(repeated("{\"a\":", 100'000), 0); }, kBadFile,
       "nests objects too deep"},
      {"lists_nested",
       [] {
         return made_safetensors(std::string("{\"a\":{\"shape\":") + repeated("[", 1'000'000), 0);
       },
       kBadFile, "list in an unexpected place"},
      {"dtype_unknown", [] { return header_case("F31", "[4]", "[0,16]"); }, kBadFile,
       "unknown type 'F31'"},
      {"offsets_beyond", [] { return header_case("F32", "[4]", "[16,32]"); }, kBadFile,
       "claims bytes 16 to 32 of 16"},
      {"offsets_reversed", [] { return header_case("F32", "[4]", "[16,0]"); }, kBadFile,
       "claims bytes 16 to 0"},
      {"offsets_three", [] { return header_case("F32", "[4]", "[0,16,16]"); }, kBadFile,
       "more than two data_offsets"},
      {"offsets_missing",
       [] { return made_safetensors(R"({"a":{"dtype":"F32","shape":[4]}})", 16); }, kBadFile,
       "exactly dtype, shape and two data_offsets"},
      {"size_wrong", [] { return header_case("F32", "[5]", "[0,16]"); }, kBadFile,
       "does not fit its 16 bytes"},
      {"size_overflows", [] { return header_case("F32", "[4294967296,4294967296,4]", "[0,16]"); },
       kBadFile, "does not fit its 16 bytes"},
      {"extent_negative", [] { return header_case("F32", "[-4]", "[0,16]"); }, kBadFile,
       "negative number"},
      {"extent_beyond_int64", [] { return header_case("F32", "[18446744073709551615]", "[0,16]"); },
       kBadFile, "too large to be true"},
      {"extent_fraction", [] { return header_case("F32", "[4.5]", "[0,16]"); }, kBadFile,
       "no whole number"},
      {"extents_too_many", [] { return header_case("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]"); },
       kUnsupported, "more than 8 dimensions"},
      {"overlap",
       [] {
         return made_safetensors(
             R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[7,15]}})",
             16);
       },
       kBadFile, "overlaps"},
      {"metadata_number", [] { return made_safetensors(R"({"__metadata__":{"a":1}})", 0); },
       kBadFile, "number in an unexpected place"},
      // Index of shards
      {"index_up", [] { return index_of_shards("../secret.safetensors"); }, kBadFile,
       "wanted the plain name"},
      {"index_absolute", [] { return index_of_shards("/etc/passwd"); }, kBadFile,
       "wanted the plain name"},
      {"index_number", [] { return std::string(R"({"weight_map":{"a":7}})"); }, kBadFile,
       "wanted the plain name"},
      {"index_shard_absent", [] { return index_of_shards("model-1.safetensors"); }, kNotFound,
       "model-1.safetensors"},
      {"index_without_map", [] { return std::string("{\"a\":1}"); }, kBadFile,
       "has no 'weight_map'"},
      {"index_key_twice", [] { return std::string(R"({"weight_map":{"a":"b","a":"c"}})"); },
       kBadFile, "has the key 'a' twice"},
      {"index_nested", [] { return repeated("{\"a\":", 1'000'000); }, kBadFile,
       "nested deeper than 16"},
      // The ZIP of a torch file
      {"zip_truncated", [] { return torch_tensor(4, 0, {4}, {1}).substr(0, 300); }, kBadFile,
       "is truncated or no sound ZIP file"},
      {"zip_other",
       [] {
         return made_zip({{"readme.txt", "hi"}});
       },
       kBadFile, "without data.pkl"},
      {"zip_two_pickles",
       [] {
         return made_torch("", {{"n/data.pkl", ""}});
       },
       kBadFile, "more than one data.pkl"},
      {"zip_entry_twice",
       [] {
         return made_torch("", {{"m/data/0", ""}});
       },
       kBadFile, "'m/data/0' that is there twice"},
      {"zip_entry_outside",
       [] {
         return made_torch("", {{"../evil", ""}});
       },
       kBadFile, "names a place outside"},
      {"zip_compressed",
       [] { return changed_entry("m/data/0", 10, std::string_view("\x08\x00", 2)); }, kBadFile,
       "is compressed"},
      {"zip_encrypted",
       [] { return changed_entry("m/data/0", 8, std::string_view("\x01\x00", 2)); }, kBadFile,
       "is encrypted"},
      {"zip_size_huge",
       [] {
         return changed_entry("m/data/0", 20,
                              std::string_view("\xf0\xff\xff\x7f\xf0\xff\xff\x7f", 8));
       },
       kBadFile, "torch:"},
      {"zip_entries_huge",
       [] {
         std::string zip = torch_tensor(4, 0, {4}, {1});
         zip.replace(zip.size() - 14, 4, "\xfe\xff\xfe\xff");
         return zip;
       },
       kBadFile, "no sound ZIP file"},
      {"zip_bad_checksum", damaged_storage, kBadFile, "CRC error"},
      {"zip_big_endian",
       [] {
         return made_torch("", {{"m/byteorder", "big"}});
       },
       kUnsupported, "big-endian"},
      // The pickle in it
      {"calls_system", [] { return made_torch(calling_pickle("os", "system", "true")); }, kBadFile,
       "refuses global 'os.system'"},
      {"calls_posix", [] { return made_torch(calling_pickle("posix", "system", "true")); },
       kBadFile, "refuses global 'posix.system'"},
      {"calls_eval", [] { return made_torch(calling_pickle("builtins", "eval", "1")); }, kBadFile,
       "refuses global 'builtins.eval'"},
      {"calls_by_stack", [] { return pickle_case("\x8c\x02os\x8c\x05popen\x93."); }, kBadFile,
       "refuses global 'os.popen'"},
      {"names_control_characters", [] { return made_torch(calling_pickle("o\x1b[2J", "s", "1")); },
       kBadFile, "refuses global 'o\\x1b[2J.s'"},
      {"calls_number", [] { return pickle_case("K\x01)R."); }, kBadFile,
       "calls something that is no function"},
      {"calls_marker", [] { return pickle_case("ctorch\nTensor\n)R."); }, kBadFile,
       "arguments that it does not have"},
      {"calls_itself", rebuild_of_itself, kBadFile, "arguments that it does not have"},
      {"instruction_unknown", [] { return pickle_case("\x82\x01."); }, kBadFile,
       "the instruction 0x82"},
      {"instruction_inst", [] { return pickle_case("(ios\nsystem\n."); }, kBadFile,
       "the instruction 0x69"},
      {"protocol_unknown", [] { return made_torch("\x80\x09}."); }, kBadFile, "has protocol 9"},
      {"pickle_empty", [] { return made_torch(""); }, kBadFile, "ends in the middle"},
      {"pickle_truncated", [] { return pickle_case("}X\xff"); }, kBadFile,
       "ends in the middle of a value"},
      {"text_giant", [] { return pickle_case("\x8d\xff\xff\xff\xff\xff\xff\xff\x7f."); }, kBadFile,
       "ends in the middle of a value"},
      {"stack_underflow", [] { return pickle_case("}s."); }, kBadFile,
       "takes a value that is not there"},
      {"memo_absent", [] { return pickle_case("h\x05."); }, kBadFile,
       "recalls a value that it did not store"},
      {"memo_bomb", [] { return pickle_case(std::string("}") + repeated("\x94", 3'000'000)); },
       kBadFile, "remembers too many values"},
      {"stack_bomb", [] { return pickle_case(std::string("}") + repeated("2", 2'000'000)); },
       kBadFile, "too large a stack"},
      {"value_bomb", [] { return pickle_case(repeated("N0", 5'000'000)); }, kBadFile,
       "holds too many values"},
      {"marks_nested", [] { return pickle_case(repeated("(", 1'000'000)); }, kBadFile,
       "nested deeper than 1000"},
      {"tuples_nested",
       [] { return pickle_case(std::string(")") + repeated("\x85", 1'000'000) + "."); }, kMismatch,
       "holds no dictionary of named tensors"},
      {"dictionary_in_itself",
       [] { return pickle_case(std::string("}q\x00X\x01\x00\x00\x00kh\x00s.", 13)); }, kBadFile,
       "deeper than 16"},
      {"dictionaries_doubling", [] { return made_torch(doubling_dictionaries()); }, kBadFile,
       "deeper than 16"},
      {"list_at_top", [] { return pickle_case("]."); }, kMismatch,
       "holds no dictionary of named tensors"},
      {"storage_by_number", [] { return pickle_case("K\x01Q."); }, kBadFile,
       "storage without description"},
      // Tensors in it
      {"tensor_twice_torch", twice_the_same_tensor, kBadFile, "has the tensor 'w' twice"},
      {"storage_absent", [] { return made_torch(one_tensor_pickle(4, 0, {4}, {1}, "9")); },
       kBadFile, "has no storage '9'"},
      {"storage_outside",
       [] { return made_torch(one_tensor_pickle(4, 0, {4}, {1}, "../../etc/passwd")); }, kBadFile,
       "has no storage '../../etc/passwd'"},
      {"storage_too_short", [] { return torch_tensor(5, 0, {5}, {1}); }, kBadFile,
       "of 16 bytes, wanted 20"},
      {"storage_giant", [] { return torch_tensor(int64_t{1} << 62, 0, {4}, {1}); }, kBadFile,
       "claims a storage of"},
      {"storage_negative", [] { return torch_tensor(-1, 0, {4}, {1}); }, kBadFile,
       "claims a storage of -1"},
      {"window_outside", [] { return torch_tensor(4, 1, {4}, {1}); }, kBadFile,
       "outside its storage"},
      {"offset_negative", [] { return torch_tensor(4, -1, {1}, {1}); }, kBadFile,
       "outside its storage"},
      {"offset_giant", [] { return torch_tensor(4, INT64_MAX, {1}, {1}); }, kBadFile,
       "outside its storage"},
      {"stride_negative", [] { return torch_tensor(4, 3, {4}, {-1}); }, kBadFile,
       "impossible strides"},
      {"stride_overflows", [] { return torch_tensor(4, 0, {4}, {INT64_MAX}); }, kBadFile,
       "impossible strides"},
      {"stride_missing",
       [] {
         return torch_tensor(4, 0, {2, 2}, {1});
       },
       kBadFile, "impossible shape"},
      {"extent_negative_torch", [] { return torch_tensor(4, 0, {-4}, {1}); }, kBadFile,
       "impossible shape"},
      {"extents_overflow",
       [] {
         return torch_tensor(4, 0, {kHuge, kHuge}, {0, 0});
       },
       kBadFile, "impossible shape"},
      {"expanded_giant", [] { return torch_tensor(4, 0, {kHuge / 4}, {0}); }, kBadFile,
       "blows up a storage of 16 bytes"},
      {"dimensions_too_many", nine_dimensions, kUnsupported, "9 dimensions"},
  };
  return kCases;
}

class HostileFile : public testing::TestWithParam<Case> {};

TEST_P(HostileFile, IsRefusedWithOneClearSentence) {
  const TemporaryFolder folder;
  write_file(folder / "input", GetParam().bytes());
  try {
    read_all(*Checkpoint::open(folder / "input"));
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), GetParam().code) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(GetParam().says));
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos)
        << "more than one line";
    EXPECT_LT(std::string_view(error.what()).size(), 600U);
  }
}

INSTANTIATE_TEST_SUITE_P(All, HostileFile, testing::ValuesIn(cases()),
                         [](const auto& hostile) { return std::string(hostile.param.name); });

TEST(HostileFiles, AreAtLeastThirty) { EXPECT_GE(cases().size(), 30U); }

// Damages a file in many ways; it may still be sound, but must never do anything worse than throw.
void expect_survives(const std::string& bytes) {
  const TemporaryFolder folder;
  const auto try_bytes = [&](const std::string& damaged) {
    write_file(folder / "input", damaged);
    try {
      read_all(*Checkpoint::open(folder / "input"));
    } catch (const Error&) {
    }
  };
  for (size_t length = 0; length < bytes.size(); length += 1 + bytes.size() / 300)
    try_bytes(bytes.substr(0, length));
  for (size_t flip = 0; flip < 2000; ++flip) {
    std::string damaged = bytes;
    damaged[flip * 7919 % bytes.size()] ^= static_cast<char>(1 << (flip % 8));
    try_bytes(damaged);
  }
}

TEST(DamagedFile, OfTorchNeverDoesWorseThanThrow) {
  expect_survives(torch_tensor(4, 0, {2, 2}, {1, 2}));
}

TEST(DamagedFile, OfSafetensorsNeverDoesWorseThanThrow) {
  expect_survives(made_safetensors(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}})",
      16));
}

TEST(HostileFiles, FolderWithoutWeightsIsNamed) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { Checkpoint::open(folder.path()); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("holds no *.safetensors")));
}

TEST(HostileFiles, FuzzingSeedsNeverDoWorseThanThrow) {
  const std::filesystem::path corpus =
      std::filesystem::path(NEXTSCALE_TEST_DATA).parent_path().parent_path() / "fuzz" / "corpus";
  const TemporaryFolder folder;
  size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(corpus)) {
    if (!entry.is_regular_file()) continue;
    const bool is_pickle = entry.path().parent_path().filename() == "pickle";
    const std::string bytes = read_file(entry.path());
    write_file(folder / "input", is_pickle ? made_torch(bytes) : bytes);
    try {
      read_all(*Checkpoint::open(folder / "input"));
    } catch (const Error&) {
    }
    ++count;
  }
  EXPECT_GE(count, 5U);
}

}  // namespace
}  // namespace nextscale
