// Reads SentencePiece's *.model: a protobuf message with pieces, their scores and kinds, and the
// normalization of texts.
#include <algorithm>
#include <bit>
#include <cstring>

#include "tokenizer/contents.h"
#include "tokenizer/fault.h"
#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

// One protobuf message: fields in any order, each of which is a varint, eight or four bytes, or a byte
// string.
class Message {
 public:
  Message(std::string_view bytes, const std::string& file, const char* name)
      : bytes_(bytes), file_(file), name_(name) {}

  // Moves to the next field. Returns false if there is none.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = varint();
    field = static_cast<uint32_t>(key >> 3);
    number = 0;
    text = {};
    switch (key & 7) {
      case 0:
        number = varint();
        break;
      case 1:
        text = take(8);
        break;
      case 2:
        text = take(varint());
        break;
      case 5: {
        text = take(4);
        for (size_t i = 4; i-- > 0;) number = number << 8 | static_cast<unsigned char>(text[i]);
        break;
      }
      default:
        broken();
    }
    if (field == 0) broken();
    return true;
  }
  float real() const { return std::bit_cast<float>(static_cast<uint32_t>(number)); }

  uint32_t field = 0;
  uint64_t number = 0;
  std::string_view text;

 private:
  [[noreturn]] void broken() const {
    refuse(file_, name_, "a message of SentencePiece's", "other bytes at " + std::to_string(at_));
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) broken();
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    broken();
  }
  std::string_view take(uint64_t length) {
    if (length > bytes_.size() - at_) broken();
    const std::string_view taken = bytes_.substr(at_, length);
    at_ += length;
    return taken;
  }

  std::string_view bytes_;
  const std::string& file_;
  const char* name_;
  size_t at_ = 0;
};

// Derives the merges that produce each piece, in the order of ids, as transformers' generate_merges does.
void deriveMerges(Contents& to) {
  struct Found {
    uint32_t merged, left, right, leftLength, rightLength;
  };
  std::vector<Found> found;
  std::vector<size_t> starts;
  for (uint32_t id = 0; id < to.pieces.size(); ++id) {
    if (!to.pieces.has(id)) continue;
    const std::string_view piece = to.pieces.at(id);
    if (to.pieces.find(piece) != static_cast<int64_t>(id)) continue;
    starts.clear();
    for (size_t at = 0; at < piece.size(); next(piece, at)) starts.push_back(at);
    // The time is quadratic in the length of a piece; SentencePiece generates none of more than some tens of
    // characters.
    if (starts.size() > 512)
      refuse(to.file, "pieces[" + std::to_string(id) + "].piece", "at most 512 characters", quoted(piece));
    const size_t first = found.size();
    for (size_t i = 1; i < starts.size(); ++i) {
      const int64_t left = to.pieces.find(piece.substr(0, starts[i]));
      const int64_t right = to.pieces.find(piece.substr(starts[i]));
      if (left >= 0 && right >= 0)
        found.push_back({id, static_cast<uint32_t>(left), static_cast<uint32_t>(right),
                         static_cast<uint32_t>(i), static_cast<uint32_t>(starts.size() - i)});
    }
    std::sort(found.begin() + static_cast<std::ptrdiff_t>(first), found.end(),
              [](const Found& a, const Found& b) {
                return std::pair(a.left, a.right) < std::pair(b.left, b.right);
              });
    std::stable_sort(found.begin() + static_cast<std::ptrdiff_t>(first), found.end(),
                     [](const Found& a, const Found& b) {
                       return std::pair(a.leftLength, a.rightLength) < std::pair(b.leftLength, b.rightLength);
                     });
  }
  to.merges.reserve(found.size());
  for (size_t rank = 0; rank < found.size(); ++rank)
    to.merges.put(found[rank].left, found[rank].right, static_cast<uint32_t>(rank), found[rank].merged);
}

}  // namespace

Contents readSentencePiece(std::string_view bytes, const std::string& file) {
  if (bytes.size() > kMostBytes)
    refuse(file, "size", "at most " + std::to_string(kMostBytes) + " bytes",
           std::to_string(bytes.size()) + " bytes");
  Contents to;
  to.file = file;
  uint64_t modelType = 1;
  to.unknownId = 0;
  to.unknownToken = "<unk>";
  for (Message model(bytes, file, "ModelProto"); model.next();) {
    if (model.field == 1) {
      const auto id = static_cast<uint32_t>(to.scores.size());
      const std::string field = "pieces[" + std::to_string(id) + "]";
      if (id >= kMostPieces) refuse(file, "pieces", "at most " + std::to_string(kMostPieces), "more");
      std::string_view spelling;
      float score = 0;
      uint64_t kind = 1;
      for (Message piece(model.text, file, "pieces"); piece.next();) {
        if (piece.field == 1) spelling = piece.text;
        if (piece.field == 2) score = piece.real();
        if (piece.field == 3) kind = piece.number;
      }
      if (spelling.size() > kLongestPiece)
        refuse(file, field + ".piece", "at most " + std::to_string(kLongestPiece) + " bytes",
               std::to_string(spelling.size()));
      if (!isValid(spelling)) refuse(file, field + ".piece", "UTF-8 text", "other bytes");
      if (!(score > -1e30f && score < 1e30f)) refuse(file, field + ".score", "a number", "something else");
      if (kind < 1 || kind > 6) refuse(file, field + ".type", "from 1 to 6", std::to_string(kind));
      to.pieces.put(spelling, id);
      to.scores.push_back(static_cast<double>(score));
      to.kinds.push_back(static_cast<Unigram::Kind>(kind));
      if (kind == 3 || kind == 4) {
        AddedToken token;
        token.content = spelling;
        token.id = static_cast<int32_t>(id);
        token.normalized = false;
        token.special = kind == 3;
        to.added.push_back(std::move(token));
      }
    } else if (model.field == 2) {
      for (Message trainer(model.text, file, "trainer_spec"); trainer.next();) {
        if (trainer.field == 3) modelType = trainer.number;
        if (trainer.field == 24) to.spaceAsSuffix = trainer.number != 0;
        if (trainer.field == 35) to.byteFallback = trainer.number != 0;
        if (trainer.field == 45) to.unknownToken = trainer.text;
        if (trainer.field == 40) to.unknownId = static_cast<int32_t>(static_cast<uint32_t>(trainer.number));
      }
    } else if (model.field == 3) {
      for (Message spec(model.text, file, "normalizer_spec"); spec.next();) {
        if (spec.field == 2 && !spec.text.empty())
          to.map = std::make_shared<const Charsmap>(spec.text, file, "normalizer_spec.precompiled_charsmap");
        if (spec.field == 3) to.dummyPrefix = spec.number != 0;
        if (spec.field == 4) to.removeSpaces = spec.number != 0;
        if (spec.field == 5) to.escapeSpaces = spec.number != 0;
      }
    }
  }
  if (to.scores.empty()) refuse(file, "pieces", "one piece at least", "none");
  if (modelType != 1 && modelType != 2)
    refuse(file, "trainer_spec.model_type", "1 (Unigram) or 2 (byte pair encoding)",
           std::to_string(modelType));
  to.kind = modelType == 1 ? Contents::Kind::unigram : Contents::Kind::bpe;
  // The piece of kind unknown is the unknown piece, even if the trainer's settings say otherwise.
  for (size_t id = 0; id < to.kinds.size(); ++id)
    if (to.kinds[id] == Unigram::Kind::unknown) to.unknownId = static_cast<int32_t>(id);
  if (to.unknownId < 0 || static_cast<size_t>(to.unknownId) >= to.scores.size())
    refuse(file, "trainer_spec.unk_id", "the id of a piece", std::to_string(to.unknownId));
  if (to.kind == Contents::Kind::bpe) deriveMerges(to);
  return to;
}

}  // namespace clip::tokenizer
