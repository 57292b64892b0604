"""Made-up trees in the layouts of the public data sets: the same names, headers and oddities, and files of no sound."""

import pytest


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


@pytest.fixture
def write(root):
    """Writes a file of the tree, with the folders that it needs."""

    def written(name, text=""):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written


SONG_LEVEL = "annotations/annotations averaged per song/song_level"


@pytest.fixture
def deam(root, write):
    """Six songs of DEAM; the metadata has tabs in its cells, rows of any length, and a row with a cell too many."""
    write(
        f"{SONG_LEVEL}/static_annotations_averaged_songs_1_2000.csv",
        "song_id, valence_mean, valence_std, arousal_mean, arousal_std\n"
        "2,3.1,0.94,3,0.63\n3,3.5,1.75,3.3,1.62\n1001,5.0,1.1,9,0.5\n1002,1,0.2,5.8,1.0\n",
    )
    write(
        f"{SONG_LEVEL}/static_annotations_averaged_songs_2000_2058.csv",
        "song_id, valence_mean, valence_std, valence_ max_mean, valence_max_std, arousal_mean, arousal_std\n"
        "2001,6.6,1.1,7,0.5,7,0.7\n2002,5.8,1.0,6,0.4,4,0.5\n",
    )
    write(
        "metadata/metadata_2013.csv",
        "song_id,file_name,Artist,Song title,start of the segment (min.sec),end of the segment (min.sec),Genre\n"
        '2,"\t2.mp3","The New Mystikal Troubadours\t","\tTonight  A Lonely Century\t",2.02,2.47,"\tBlues\t"\n'
        '3,"\t3.mp3","Kevin MacLeod\t","\tDD Groove\t",0.19,1.04,"\tBlues\t"\n',
    )
    write(
        "metadata/metadata_2014.csv",
        "Id,Artist,Album,Track,Genre,segment start,segment end,Last.fm labels,,,\n"
        "1001,Kevin MacLeod,An Album,A Track,Rock,30,75,happy,fast,loud,and,more\n1002,n/a,Another\n",
    )
    write(
        "metadata/metadata_2015.csv",
        "id,Filename,title,artist,album,genre\n"
        "2001,a.mp3,A Title,A Singer,n/a,Pop\n2002,b.mp3,a title, 12,A Singer,n/a,Pop\n",
    )
    for song in (2, 3, 1001, 1002, 2001, 2002):
        write(f"MEMD_audio/{song}.mp3")
    return root


@pytest.fixture
def pmemo(root, write):
    """Four choruses of PMEmo, in the folder above its own."""
    write(
        "PMEmo2019/annotations/static_annotations.csv",
        "musicId,Arousal(mean),Valence(mean)\n1,0.4,0.575\n4,0.2625,0.2875\n5,0.15,0.2\n6,1,0\n",
    )
    write(
        "PMEmo2019/metadata.csv",
        "musicId,fileName,title,artist,album,duration,chorus_start_time,chorus_end_time\n"
        "1,1.mp3,Good Drank,2 Chainz,Pretty Girls,32.02,02:35,03:05\n"
        '4,4.mp3,X,"Rihanna, Drake",Y,38.0,01:00,01:30\n5,5.mp3,Z,Rihanna,Y,38.0,01:00,01:30\n6,6.mp3,A,B,C,30,0,0\n',
    )
    write("PMEmo2019/lyrics/1.lrc", "[00:12.50]first line\n")
    for song in (1, 4, 5, 6):
        write(f"PMEmo2019/chorus/{song}.mp3")
    return root


AUDIO = "MERGE_Audio_Complete"
BIMODAL = "MERGE_Bimodal_Complete"
MERGE_MORE = "AllMusic Id,AllMusic Extraction Date,Artist,Title,Relevance"


@pytest.fixture
def merge_audio(root, write):
    """Three clips of the audio set."""
    write(
        f"{AUDIO}/merge_audio_complete_metadata.csv",
        f"Song,Quadrant,{MERGE_MORE}\nA001,Q4,MT1,2020,Charlie Poole,One,1\nA002,Q2,MT2,2020,Nobody,Two,1\n"
        'MT0000004637,Q3,MT0000004637,2020,"Simon, Paul",Three,1\n',
    )
    write(
        f"{AUDIO}/merge_audio_complete_av_values.csv",
        "Song,Arousal,Valence\nA001,0.25,0.75\nA002,0.8,0.3\nMT0000004637,0.5,0\n",
    )
    for name in ("Q4/A001", "Q2/A002", "Q3/MT0000004637"):
        write(f"{AUDIO}/{name}.mp3")
    return root


@pytest.fixture
def merge_bimodal(root, write):
    """Two clips of the bimodal set: one that the audio set has too, and one of its own."""
    write(
        f"{BIMODAL}/merge_bimodal_complete_metadata.csv",
        f"Audio_Song,Lyric_Song,Quadrant,{MERGE_MORE}\nA001,L043,Q4,MT1,2020,Charlie Poole,One,1\n"
        "A077,MT9,Q1,MT9,2020,Someone,Four,1\n",
    )
    write(
        f"{BIMODAL}/merge_bimodal_complete_av_values.csv",
        "Audio_Song,Lyric_Song,Arousal,Valence\nA001,L043,0.25,0.75\nA077,MT9,0.9,1\n",
    )
    for name in ("audio/Q4/A001.mp3", "audio/Q1/A077.mp3", "lyrics/Q4/L043.txt", "lyrics/Q1/MT9.txt"):
        write(f"{BIMODAL}/{name}")
    return root


@pytest.fixture
def merge_lyrics(root, write):
    """The lyrics set, which has no audio."""
    write("MERGE_Lyrics_Complete/merge_lyrics_complete_metadata.csv", f"Song,Quadrant,{MERGE_MORE}\nL043,Q4,,,A,B,1\n")
    write("MERGE_Lyrics_Complete/Q4/L043.txt", "words")
    return root


@pytest.fixture
def jamendo(root, write):
    """Seven tracks of MTG-Jamendo, of which four have moods of one quadrant."""
    tag = "mood/theme---"
    rows = [
        ("1376256", "490499", "56/1376256", [f"{tag}corporate", f"{tag}commercial"]),
        ("0917542", "378901", "42/917542", [f"{tag}happy"]),
        ("1310766", "347673", "66/1310766", [f"{tag}melancholic", f"{tag}romantic"]),
        ("1179715", "437980", "15/1179715", [f"{tag}energetic", f"{tag}fun", "genre---rock"]),
        ("0917543", "378901", "43/917543", [f"{tag}relaxing"]),
        ("1179717", "437980", "17/1179717", [f"{tag}sad", f"{tag}party"]),
        ("1379189", "489561", "89/1379189", [f"{tag}game", f"{tag}horror"]),
    ]
    write(
        "data/autotagging_moodtheme.tsv",
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
        + "".join(
            f"track_{track}\tartist_{artist}\talbum_000001\t{path}.mp3\t166.0\t" + "\t".join(tags) + "\n"
            for track, artist, path, tags in rows
        ),
    )
    for _, _, path, _ in rows:
        write(f"audio/{path}.mp3")
    return root
